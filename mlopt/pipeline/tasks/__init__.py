"""What the pipeline runs inside worker processes."""

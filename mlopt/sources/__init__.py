"""What the user brings: models and data. One file of a folder is one way of bringing it."""

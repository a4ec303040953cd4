"""Score an artifact on a split, and compare two sets of answers."""

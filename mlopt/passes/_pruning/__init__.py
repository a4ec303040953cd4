"""How channels are found, judged and removed: the parts of the pass ``prune_channels``."""

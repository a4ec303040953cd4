"""The passes: one file is one transformation of a model."""

from mlopt.registry import Folder
from mlopt.types.passes import Pass

PASSES: Folder[Pass] = Folder("mlopt.passes", Pass, "pass")

__all__ = ["PASSES", "Pass"]

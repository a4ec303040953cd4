"""Ways of bringing a model: one file is one way, named like its key in mlopt.yaml."""

from mlopt.registry import Folder
from mlopt.sources.models._base import ModelSource

MODEL_SOURCES: Folder[ModelSource] = Folder("mlopt.sources.models", ModelSource, "model source")

__all__ = ["MODEL_SOURCES", "ModelSource"]

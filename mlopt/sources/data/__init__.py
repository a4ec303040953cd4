"""Ways of bringing data: one file is one way, named like its key in mlopt.yaml."""

from mlopt.registry import Folder
from mlopt.sources.data._base import Batch, DataSource

DATA_SOURCES: Folder[DataSource] = Folder("mlopt.sources.data", DataSource, "data source")

__all__ = ["DATA_SOURCES", "Batch", "DataSource"]

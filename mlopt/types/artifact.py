"""An immutable model on disk: a directory with a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from mlopt.errors import RunError
from mlopt.types.record import Record
from mlopt.types.tensors import TensorSpec

Format = Literal["torch", "onnx"]

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


class FileEntry(Record):
    """One file of an artifact."""

    sha256: str
    size_bytes: int


class LineageStep(Record):
    """One transformation on the way to an artifact.

    Attributes:
        transformation: Name of the pass, or ``source`` for the model as the user brought it.
        parameters: Resolved: with what was chosen from the CPU's flags or the data.
        facts: What the pass found and did, for the report (which exporter ran, parity, ...).
        versions: Versions of the libraries that it used.
    """

    transformation: str
    parameters: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    versions: dict[str, str] = {}
    seed: int = 0


class Manifest(Record):
    """What an artifact is. Stored as ``manifest.json`` in its directory.

    Attributes:
        main: The file that a runner opens.
        files: Every file but the manifest, by its path in the directory.
        key: The cache key that it was built under.
        axes: Of each input of an ONNX file: its sizes, and the names that the file has for dynamic
            axes, which may be other ones than those of ``inputs``. Empty for other formats, and for
            artifacts of an older mlopt.
    """

    schema_version: int = SCHEMA_VERSION
    format: Format
    main: str
    files: dict[str, FileEntry]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    lineage: tuple[LineageStep, ...]
    key: str
    axes: dict[str, tuple[int | str, ...]] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of all files that are deployed."""
        return sum(entry.size_bytes for entry in self.files.values())


class Artifact(Record):
    """A manifest and the directory that it stands in."""

    directory: Path
    manifest: Manifest

    @property
    def main_file(self) -> Path:
        """The file that a runner opens."""
        return self.directory / self.manifest.main

    @classmethod
    def open(cls, directory: Path) -> Artifact:
        """Reads the artifact in ``directory``.

        Raises:
            RunError: The manifest is missing, damaged, or of a newer mlopt.
        """
        path = directory / MANIFEST
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except OSError as e:
            raise RunError(
                f"{directory} is not an mlopt artifact: it has no readable {MANIFEST}. "
                "Give a directory that mlopt wrote (a run's model/, say) or an .onnx file."
            ) from e
        except ValidationError as e:
            raise RunError(
                f"{path} is damaged or was written by another version of mlopt: {e}"
            ) from e
        if manifest.schema_version > SCHEMA_VERSION:
            raise RunError(
                f"{path} has schema version {manifest.schema_version}; this mlopt reads up to "
                f"{SCHEMA_VERSION}. Upgrade mlopt to read it."
            )
        return cls(directory=directory, manifest=manifest)

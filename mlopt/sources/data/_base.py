"""The contract of a data source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from mlopt.types.record import Record


class Batch(NamedTuple):
    """Some examples.

    Attributes:
        inputs: By name, shape (n, ...). Raw columns, texts and images that a Hugging Face directory
            turns into inputs, may be lists of n values.
        target: Shape (n, ...), if any; labels may be names.
        rows: Where each example stands, ``data.training: train.csv, line 7``, if that is known.
    """

    inputs: Mapping[str, Any]
    target: Any
    rows: Sequence[str] = ()


class DataSource(Record):
    """A way of bringing one split. Its fields are the keys of ``data.<split>`` in mlopt.yaml.

    Attributes:
        name: The key that says that this source is meant; also a field.
        summary: One line for the JSON schema.
        finite: Whether it cannot but end, so that no cycle need be looked for.
        typed: Whether numbers have a type of their own; those of text files take the inputs'.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    finite: ClassVar[bool] = False
    typed: ClassVar[bool] = True

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """Mistakes that can be seen without running anything: key and message."""
        yield from ()

    def imports(self, project_dir: Path, place: str) -> None:
        """Imports the user's code, so that what it draws at random can be seeded after that."""
        return

    def batches(self, project_dir: Path, inputs: tuple[str, ...], place: str) -> Iterator[Batch]:
        """Reads the split. Runs in a worker process.

        Args:
            project_dir: Where the user's files and code are.
            inputs: Names of the inputs, in their order.
            place: Where in mlopt.yaml the split stands, for messages.

        Raises:
            ConfigError: The code cannot be imported.
            DataError: It yields something else than batches.
        """
        raise NotImplementedError(f"{type(self).__name__} must define batches")

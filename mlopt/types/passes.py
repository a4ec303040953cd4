"""The contract of a pass: one transformation of a model.

A pass is a frozen record whose fields are its parameters. Adding one is adding one file to
``mlopt/passes/``; a package elsewhere may add its own through the entry point group
``mlopt.passes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from mlopt.types.artifact import Artifact, Format
from mlopt.types.record import Record
from mlopt.types.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np


class PassContext(Protocol):
    """What a pass may ask of its surroundings."""

    @property
    def workspace(self) -> Path:
        """An empty directory; what the pass leaves in it becomes the artifact."""
        ...

    @property
    def project_dir(self) -> Path:
        """Where the user's code is imported from."""
        ...

    @property
    def seed(self) -> int:
        """The seed that all randomness of the pass derives from."""
        ...

    def data(self, split: str, batch_size: int) -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
        """Batches of a split's inputs by name, the batch axis first; read lazily from disk."""
        ...

    def examples(self, split: str) -> int:
        """Number of examples in a split."""
        ...

    def scratch(self) -> Path:
        """An empty directory for what must not end up in the artifact."""
        ...

    def emit(self, message: str, done: float | None = None) -> None:
        """Tells the user what is going on; ``done`` is the share of this step, 0 to 1."""
        ...


class Draft(Record):
    """What a pass leaves in its workspace; the pipeline adds hashes and lineage.

    Attributes:
        main: The file that a runner opens, relative to the workspace.
        facts: What was found and done, for the report.
    """

    main: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    facts: dict[str, Any] = {}


class Pass(Record):
    """One transformation. Its fields are its parameters, each with a default.

    Attributes:
        name: The name that recipes use; also the name of its file.
        summary: One line for ``mlopt recipes``.
        consumes: Format of the artifact that it takes.
        produces: Format of the artifact that it makes.
        splits: Data splits that it reads; they must be in the project, and are part of its key.
        libraries: Distributions whose versions are part of its key.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    consumes: ClassVar[Format]
    produces: ClassVar[Format]
    splits: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ()

    def resolve(self, cpu_flags: frozenset[str]) -> Self:
        """The same pass with every ``auto`` replaced by what this CPU wants."""
        return self

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Transforms ``artifact`` into files in ``context.workspace``. Runs in a worker process.

        Raises:
            BuildError: It cannot be done on this model; the message says why.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply")

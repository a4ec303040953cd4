"""The contract of a pass: one transformation of a model.

A pass is a frozen record whose fields are its parameters. Adding one is adding one file to
``mlopt/passes/``; a package elsewhere may add its own through the entry point group
``mlopt.passes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Protocol, Self

from pydantic import Field, JsonValue

from mlopt.types.artifact import Artifact, Format
from mlopt.types.patterns import REFERENCE
from mlopt.types.record import Record
from mlopt.types.task import Task
from mlopt.types.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class StudentModel(Record):
    """A smaller model that the project would have learn from its own: ``student`` in mlopt.yaml.

    Attributes:
        factory: ``module:function`` beside mlopt.yaml; returns the module.
        arguments: Keyword arguments for it.
        weights: To start from: ``.safetensors``, or a checkpoint with a ``state_dict``. None: the
            factory's own, which are random.
        learning_rate: The highest of its schedule, in place of what any recipe says. The recipes'
            own is for random weights; for a student that starts from trained ones, a fifth of it is
            a good first try.
        epochs: Of its training at most, in place of what any recipe says.
    """

    factory: Annotated[str, Field(pattern=REFERENCE)]
    arguments: dict[str, JsonValue] = {}
    weights: str | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    epochs: Annotated[int, Field(gt=0)] | None = None


class TrainingSetup(Record):
    """What the project says about training.

    Attributes:
        metric: Name of the metric that decides.
        function: ``module:function`` of a metric of the user's own; None for one of mlopt's.
        augment: ``module:function`` that varies a training batch at random: inputs by name in,
            the same out, tensors both.
        student: A smaller model to be trained.
    """

    task: Task
    metric: str
    function: str | None = None
    higher_is_better: bool
    augment: str | None = None
    student: StudentModel | None = None


class SplitArrays(NamedTuple):
    """A split as memory maps, the example axis first: rows can be read in any order.

    Attributes:
        inputs: By name, shape (N, ...).
        targets: Shape (N, ...); None for a split without any.
        hashes: A hash of each example's inputs, shape (N,): equal for exact duplicates.
    """

    inputs: Mapping[str, Array]
    targets: Array | None
    hashes: Array


class Brought(NamedTuple):
    """What the user brings, as far as it decides which passes apply."""

    format: Format
    has_student: bool


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

    @property
    def checkpoints(self) -> Path:
        """A directory that survives a kill: the same step, started again, finds it as it left it.

        It is gone when the step is done.
        """
        ...

    @property
    def teacher(self) -> Artifact:
        """The model as the user brought it."""
        ...

    @property
    def training(self) -> TrainingSetup:
        """What the project says about training."""
        ...

    def score(self, outputs: Array, targets: Array) -> float:
        """The project's deciding metric.

        Args:
            outputs: What is scored of the model's answers, shape (N, ...): its first output; for
                question answering the first two, stacked to (N, 2, T).
            targets: Shape (N, ...).
        """
        ...

    def data(self, split: str, batch_size: int) -> Iterator[Mapping[str, Array]]:
        """Batches of a split's inputs by name, the batch axis first; read lazily from disk."""
        ...

    def arrays(self, split: str) -> SplitArrays:
        """A split for random access."""
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
        splits: Data splits that it may read; see :meth:`reads`. They must be in the project, and are
            part of its key.
        libraries: Distributions whose versions are part of its key.
        trains: Whether it uses what the project says about training, which then is part of its key.
        modules: Optional modules that it cannot do without.
        extra: The extra of mlopt's package that installs them.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    consumes: ClassVar[Format]
    produces: ClassVar[Format]
    splits: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False
    modules: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    @classmethod
    def unavailable_because(cls) -> str | None:
        """Which module is missing and how to install it, in one line; None when all are there."""
        missing = [name for name in cls.modules if find_spec(name) is None]
        if not missing:
            return None
        verb = "is" if len(missing) == 1 else "are"
        return (
            f"{' and '.join(missing)} {verb} not installed. Install with: "
            f"pip install 'mlopt[{cls.extra}]'."
        )

    def reads(self) -> tuple[str, ...]:
        """Those of ``splits`` that it reads with these options."""
        return self.splits

    def inapplicable(self, earlier: tuple[str, ...], brought: Brought) -> str | None:
        """Why this pass cannot stand after the passes ``earlier``; None when it can."""
        return None

    def resolve(self, cpu_flags: frozenset[str]) -> Self:
        """The same pass with every ``auto`` replaced by what this CPU wants."""
        return self

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Transforms ``artifact`` into files in ``context.workspace``. Runs in a worker process.

        Raises:
            BuildError: It cannot be done on this model; the message says why.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply")

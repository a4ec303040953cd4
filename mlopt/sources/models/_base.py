"""The contract of a model source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from mlopt.errors import ModelError
from mlopt.sources.paths import missing_file
from mlopt.types.artifact import Format
from mlopt.types.passes import Draft
from mlopt.types.record import Record
from mlopt.types.task import Task
from mlopt.types.tensors import DType, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlopt.sources.preprocessing import Preprocessor


class ModelSource(Record):
    """A way of bringing a model. Its fields are the keys of ``model:`` in mlopt.yaml.

    Attributes:
        name: The key that says that this source is meant; also a field.
        summary: One line for the JSON schema.
        produces: Format of the artifact that it makes.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    produces: ClassVar[Format]

    def files(self, project_dir: Path) -> dict[str, str]:
        """The files it is made of: key in mlopt.yaml to path, relative to the project.

        A file that another one names has that one's key and its own name as its key. It is left
        out while it cannot be read; a file that mlopt.yaml names is listed even if it is missing.
        """
        raise NotImplementedError(f"{type(self).__name__} must define files")

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """Mistakes that can be seen without running anything: key and message."""
        for key, path in self.files(project_dir).items():
            if (problem := missing_file(project_dir, path)) is not None:
                yield key, problem

    @property
    def task(self) -> Task | None:
        """What the model is asked for, where it says so itself."""
        return None

    def declared_inputs(self, project_dir: Path) -> tuple[TensorSpec, ...] | None:
        """Inputs as the model itself states them; None when only the project can say."""
        return None

    def preprocessor(self, project_dir: Path) -> Preprocessor | None:
        """What turns raw columns, such as texts, into the inputs; None where there is none.

        Raises:
            ModelError: It cannot be read.
        """
        return None

    def materialise(
        self,
        workspace: Path,
        project_dir: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[str, ...],
        example: Mapping[str, np.ndarray[Any, Any]],
    ) -> Draft:
        """Loads the model, runs it once, and writes it as an artifact. Runs in a worker.

        Args:
            workspace: An empty directory.
            project_dir: Where the user's files and code are.
            inputs: As the project states them.
            outputs: Names for the outputs; empty: as the model calls them.
            example: A batch of real inputs.

        Raises:
            ModelError: It cannot be loaded, or does not accept the example.
        """
        raise NotImplementedError(f"{type(self).__name__} must define materialise")


def output_specs(
    outputs: Mapping[str, np.ndarray[Any, Any]], examples: int
) -> tuple[TensorSpec, ...]:
    """Specs of outputs as they were observed on a batch of ``examples``.

    Raises:
        ModelError: An output is no array of numbers, holds NaN, or does not have the batch as its
            first axis; or there is none.
    """
    if not outputs:
        raise ModelError("model: it returned no tensor; it must return at least one.")
    specs = []
    for name, array in outputs.items():
        _refuse_unreadable(name, array)
        if array.ndim == 0 or array.shape[0] != examples:
            raise ModelError(
                f"model: output '{name}' has shape {list(array.shape)} for a batch of {examples}; "
                "the first axis of every output must be the batch."
            )
        specs.append(
            TensorSpec.model_validate(
                {"name": name, "dtype": str(array.dtype), "shape": ("batch", *array.shape[1:])}
            )
        )
    return tuple(specs)


def _refuse_unreadable(name: str, array: Any) -> None:
    import numpy as np

    known = get_args(DType)
    dtype = str(getattr(array, "dtype", type(array).__name__))
    if dtype not in known:
        raise ModelError(
            f"model: output '{name}' is {dtype}; it must be a tensor of {', '.join(known)}. Convert "
            "it in the model, or leave it out of what the model returns."
        )
    if dtype.startswith("float") and np.isnan(array).any():
        raise ModelError(
            f"model: output '{name}' is NaN for real examples. Check the weights, and that the data "
            "is scaled as in training."
        )

"""What is trained on: rows of the training split as tensors, in batches, varied where asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.errors import BuildError, MloptError
from mlopt.passes._training.carve import Parts
from mlopt.types.passes import SplitArrays
from mlopt.types.task import ATTENTION_MASK, Task
from mlopt.workers.usercode import describe, load_object

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]
    Tensors = dict[str, torch.Tensor]


class Material:
    """The training split as tensors.

    Attributes:
        parts: Which rows are trained on, and which are set aside.
    """

    def __init__(self, arrays: SplitArrays, parts: Parts, task: Task) -> None:
        self.parts = parts
        self._arrays = arrays
        self._task = task

    def inputs(self, rows: Array) -> Tensors:
        """Inputs by name, shape (len(rows), ...)."""
        return {name: own_tensor(array[rows]) for name, array in self._arrays.inputs.items()}

    def mask(self, rows: Array) -> torch.Tensor | None:
        """Which tokens are no padding, shape (len(rows), T); None where nothing says so."""
        array = self._arrays.inputs.get(ATTENTION_MASK)
        return None if array is None else own_tensor(array[rows])

    def targets(self, rows: Array) -> torch.Tensor | None:
        """Labels as integers, values as floats; None where the split has none."""
        if self._arrays.targets is None or self._task == "feature_extraction":
            return None
        targets = own_tensor(self._arrays.targets[rows])
        return targets.float() if self._task == "regression" else targets.long()

    def scored_targets(self, rows: Array) -> Array | None:
        """Targets as the project gives them."""
        targets = self._arrays.targets
        return None if targets is None else targets[rows]

    def scale(self) -> torch.Tensor:
        """Standard deviation of each target of a regression over the training part; 1 otherwise."""
        import torch

        targets = self.targets(self.parts.training)
        if targets is None or self._task != "regression":
            return torch.ones(())
        deviation = targets.double().std(dim=0, correction=0).float()
        return torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def own_tensor(array: Array) -> torch.Tensor:
    """A copy in torch's own memory, which is aligned: products of unaligned ones may round otherwise."""
    import numpy as np
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).clone()


def batches_of(rows: Array, size: int, whole_only: bool, least: int) -> list[Array]:
    """Cuts rows into batches.

    Args:
        rows: In the order in which they are seen.
        size: Of a batch.
        whole_only: Leaves an incomplete last batch out.
        least: Leaves a last batch out that is smaller.
    """
    cut = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [batch for batch in cut if len(batch) >= (size if whole_only else least)]


def shuffled(rows: Array) -> Array:
    """The rows in an order drawn from torch's generator."""
    import torch

    order: Array = rows[torch.randperm(len(rows)).numpy()]
    return order


class Augmentation:
    """The project's function that varies a training batch at random."""

    def __init__(self, reference: str, project_dir: Path) -> None:
        """Imports ``module:function``."""
        self._reference = reference
        self._project_dir = project_dir
        self._function: Callable[[Tensors], Any] = load_object(reference, project_dir, "augment")

    def __call__(self, inputs: Tensors) -> Tensors:
        """The batch, varied.

        Raises:
            BuildError: The function raises, or returns other than it was given.
        """
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in inputs.items()}
        try:
            varied = self._function(dict(inputs))
            if not isinstance(varied, Mapping):
                raise BuildError(
                    f"augment: '{self._reference}' returned {_kind(varied)}, and not a dict: it is "
                    "called with a dict of the inputs as tensors, and returns one like it."
                )
            found = {name: (tensor.shape, tensor.dtype) for name, tensor in varied.items()}
        except MloptError:
            raise
        except Exception as e:
            raise BuildError(
                f"augment: '{self._reference}' raised {describe(e, self._project_dir)}. It is called "
                "with a dict of the inputs as tensors, and returns one like it."
            ) from e
        if found != shapes:
            raise BuildError(
                f"augment: '{self._reference}' was given {_shown(shapes)} and returned "
                f"{_shown(found)}: names, shapes and types must stay."
            )
        return {name: varied[name] for name in inputs}


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _shown(shapes: dict[str, Any]) -> str:
    return ", ".join(f"{name} {list(shape)} {dtype}" for name, (shape, dtype) in shapes.items())


def in_order(rows: Array, size: int) -> Iterator[Array]:
    """Batches of rows, the last one maybe smaller."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]

"""What goes into a model and what comes out of it."""

from collections.abc import Sequence
from typing import Literal

from mlopt.types.record import Record

DType = Literal["float32", "float16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"]

BATCH = "batch"
"""The name that an axis must have to be the batch axis."""


class TensorSpec(Record):
    """Name, element type and shape of one tensor.

    Attributes:
        shape: One entry an axis; an integer is a fixed size, a name is a dynamic axis. Axes with
            the same name have the same size. The batch axis is the one called ``batch``.
    """

    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    @property
    def batch_axis(self) -> int | None:
        """Position of the batch axis, or None when the tensor has none."""
        return self.shape.index(BATCH) if BATCH in self.shape else None

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}({', '.join(map(str, self.shape))})"


def fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    """The batch size that a model with these inputs insists on; None when it is dynamic.

    The first axis of every input is the batch; one that is fixed fixes it for all.
    """
    first = (spec.shape[0] for spec in inputs if spec.shape)
    return next((size for size in first if isinstance(size, int)), None)


class ArrayRef(Record):
    """A stored array: where it is, and how to tell that it is unchanged.

    Attributes:
        path: Relative to the directory of the file that holds this record.
    """

    path: str
    sha256: str
    dtype: str
    shape: tuple[int, ...]

"""What a data source yields becomes the arrays that the project file states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlopt.errors import DataError
from mlopt.sources.data import Batch
from mlopt.types.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlopt.sources.preprocessing import Preprocessor


def as_arrays(
    batch: Batch,
    specs: tuple[TensorSpec, ...],
    preprocessor: Preprocessor | None,
    typed: bool,
    where: str,
) -> Batch:
    """A batch of arrays.

    Args:
        batch: As a source yields it, perhaps of raw columns.
        specs: The inputs.
        preprocessor: What turns raw columns into inputs, if the model has it.
        typed: Whether the numbers' types are meant; if not, they get those of ``specs``.
        where: Place of the batch, for messages.

    Raises:
        DataError: A column is raw and nothing turns it into an input, or a number does not fit
            its input's type.
    """
    import numpy as np

    if preprocessor is not None:
        batch = preprocessor(batch, specs, where)
    dtypes = {spec.name: spec.dtype for spec in specs}
    inputs: dict[str, Any] = {}
    for name, values in batch.inputs.items():
        if isinstance(values, list):
            raise DataError(
                f"{where}: '{name}' holds values of type {type(next(iter(values), None)).__name__} "
                "where numbers belong. A tokenizer or an image processor comes with a model of the "
                "kind 'huggingface'; for any other, do its work in a data function."
            )
        inputs[name] = values
        if not typed and name in dtypes:
            inputs[name] = _cast(values, dtypes[name], f"{where}: '{name}'")
    target = batch.target if batch.target is None else np.asarray(batch.target)
    return Batch(inputs, target, batch.rows)


def _cast(array: np.ndarray[Any, Any], dtype: str, what: str) -> np.ndarray[Any, Any]:
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} is text, and 'inputs' says {dtype}.")
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is seen below
        found = array.astype(dtype)
    if "float" not in dtype and not np.array_equal(found.astype(array.dtype), array):
        raise DataError(
            f"{what} has values that are no {dtype}, as 'inputs' wants. Correct 'inputs', or round "
            "them."
        )
    return found

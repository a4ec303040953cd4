"""Whether one form of a model answers as another does, on real examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import BuildError
from mlopt.types.passes import PassContext
from mlopt.types.tensors import TensorSpec, fixed_batch

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

    from mlopt.store.padding import Padding

    Arrays = Mapping[str, np.ndarray[Any, Any]]

PARITY_TOLERANCE = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-7}
"""Largest accepted difference, over the largest magnitude in the tensor (at least 1)."""

PARITY_EXAMPLES = 64


class Answer(NamedTuple):
    """What a model answers to one batch."""

    inputs: Arrays
    outputs: Arrays


class Compared(NamedTuple):
    """What the two forms of the model are called in a message."""

    found: str
    wanted: str


EXPORT = Compared("ONNX", "PyTorch")


def parity_batches(inputs: Sequence[TensorSpec], context: PassContext) -> list[Arrays]:
    """Examples of the selection split, in several sizes and lengths where these are dynamic."""
    from mlopt.store.padding import padding_of

    fixed = fixed_batch(inputs)
    sizes = (fixed,) if fixed else (1, 7, PARITY_EXAMPLES - 8)
    batches = [next(iter(context.data("selection", size))) for size in sizes]
    if (padding := padding_of(inputs)) is not None:
        batches.append(_cut_in_half(batches[-1], padding))
    return batches


def _cut_in_half(batch: Arrays, padding: Padding) -> Arrays:
    """The batch without the second half of its texts: another length than all have together."""
    half = -(-batch[padding.mask].shape[1] // 2)
    return {
        name: array[:, :half].copy() if name in padding.columns else array
        for name, array in batch.items()
    }


def onnx_answers(path: Path, inputs: Sequence[TensorSpec], context: PassContext) -> list[Answer]:
    """What the ONNX file answers to the examples of :func:`parity_batches`."""
    session = _session(path)
    names = [output.name for output in session.get_outputs()]
    return [
        Answer(batch, dict(zip(names, session.run(None, dict(batch)), strict=True)))
        for batch in parity_batches(inputs, context)
    ]


def check_parity(
    path: Path, answers: Sequence[Answer], compared: Compared = EXPORT
) -> dict[str, Any]:
    """Compares what an ONNX file answers with what is wanted of it.

    Returns:
        Facts: the number of examples and the largest relative error.

    Raises:
        BuildError: An output differs by more than its dtype's tolerance, or a prediction differs.
    """
    session = _session(path)
    names = [output.name for output in session.get_outputs()]
    seen, largest = 0, 0.0
    for batch, wanted in answers:
        if set(names) != set(wanted):
            raise BuildError(
                f"the outputs are {', '.join(names)} in {compared.found} and "
                f"{', '.join(wanted)} in {compared.wanted}"
            )
        found = dict(zip(names, session.run(None, dict(batch)), strict=True))
        for name in wanted:
            largest = max(largest, _difference(name, found[name], wanted[name], compared))
        seen += len(next(iter(batch.values())))
    return {"parity_examples": seen, "parity_largest_error": largest}


def _session(path: Path) -> ort.InferenceSession:
    import onnxruntime as ort

    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _difference(
    name: str,
    found: np.ndarray[Any, Any],
    wanted: np.ndarray[Any, Any],
    compared: Compared,
) -> float:
    import numpy as np

    if found.shape != wanted.shape:
        raise BuildError(
            f"output '{name}' has shape {list(found.shape)} in {compared.found} and "
            f"{list(wanted.shape)} in {compared.wanted}"
        )
    between = f"between {compared.found} and {compared.wanted}"
    if not np.issubdtype(wanted.dtype, np.floating):
        if not np.array_equal(found, wanted):
            raise BuildError(f"output '{name}' differs {between}")
        return 0.0
    tolerance = PARITY_TOLERANCE[str(wanted.dtype)]
    scale = max(1.0, float(np.abs(wanted).max()))
    error = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max()) / scale
    if not error <= tolerance:
        raise BuildError(
            f"output '{name}' differs {between} by {error:.2g} of its magnitude; "
            f"{tolerance:g} is accepted for {wanted.dtype}"
        )
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        top = np.sort(wanted, axis=1)
        clear = top[:, -1] - top[:, -2] > 2 * tolerance * scale
        if (found.argmax(axis=1) != wanted.argmax(axis=1))[clear].any():
            raise BuildError(
                f"output '{name}' predicts other classes in {compared.found} than in "
                f"{compared.wanted}"
            )
    return error

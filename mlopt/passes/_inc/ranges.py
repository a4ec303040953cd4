"""The ranges of activations that no observer saw, from one more run over calibration examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlopt.passes._constants import save_graph
from mlopt.passes._inc.graph import Grid

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Arrays = Mapping[str, np.ndarray[Any, Any]]

SMALLEST_SCALE = 2.0**-23
"""What an observer of PyTorch gives to an activation that is always zero."""


class Range(NamedTuple):
    """The least and the largest value seen."""

    low: float
    high: float


def observe(
    model: onnx.ModelProto, names: Sequence[str], batches: Iterable[Arrays], path: Path
) -> dict[str, Range]:
    """The range of each named float tensor over all batches, of which one is in memory at a time.

    Args:
        model: The graph; its outputs are replaced.
        names: Of the tensors.
        batches: Of inputs, by name.
        path: A file for the graph.
    """
    import onnxruntime as ort
    from onnx import TensorProto, helper

    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    save_graph(model, path, model.ByteSize())
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ranges = dict.fromkeys(names, Range(0.0, 0.0))
    for batch in batches:
        for name, found in zip(names, session.run(list(names), dict(batch)), strict=True):
            ranges[name] = _wider(ranges[name], found)
    return ranges


def _wider(known: Range, found: np.ndarray[Any, Any]) -> Range:
    if not found.size:
        return known
    return Range(min(known.low, float(found.min())), max(known.high, float(found.max())))


def grid_for(seen: Range, kind: Literal["uint8", "int8"], symmetric: bool) -> Grid:
    """The grid of an activation, by the rule of PyTorch's observers.

    Args:
        seen: Holds zero, which must be on the grid: convolutions pad with it.
        kind: Type of the integers.
        symmetric: Whether the grid reaches as far down as up.
    """
    import numpy as np

    least, largest = (int(end) for end in (np.iinfo(kind).min, np.iinfo(kind).max))
    if symmetric:
        scale = max(max(-seen.low, seen.high) / 127.5, SMALLEST_SCALE)
        zero_point = (least + largest + 1) // 2
    else:
        scale = max((seen.high - seen.low) / 255, SMALLEST_SCALE)
        zero_point = int(np.clip(least - np.rint(seen.low / scale), least, largest))
    return Grid(np.asarray(scale, np.float32), np.asarray(zero_point, kind))

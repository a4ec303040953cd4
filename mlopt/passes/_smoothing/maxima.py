"""The largest magnitude of every channel of an activation, over calibration examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.passes._constants import save_graph

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

_AXES_ARE_AN_INPUT_FROM_OPSET = 18
_AXES = "maxima/axes"


def channel_maxima(
    source: Path,
    channels: Mapping[str, int],
    batches: Iterable[Mapping[str, Array]],
    directory: Path,
    size_bytes: int,
) -> dict[str, Array]:
    """Runs a model that returns nothing but these maxima: no activation outlives its batch.

    Args:
        source: The model.
        channels: The tensors to look at, with the size of their last axis.
        batches: Its inputs.
        directory: For the model that is run.
        size_bytes: Of ``source``.

    Returns:
        For each tensor, the maxima, shape (channels,), float64.
    """
    import numpy as np
    import onnx
    import onnxruntime as ort

    model = onnx.load(str(source))
    names = _reduce(model, channels)
    path = directory / "maxima.onnx"
    save_graph(model, path, size_bytes)
    del model
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = {tensor: np.zeros(size) for tensor, size in channels.items()}
    for batch in batches:
        for tensor, maxima in zip(channels, session.run(names, dict(batch)), strict=True):
            np.maximum(found[tensor], maxima, out=found[tensor])
    return found


def _reduce(model: onnx.ModelProto, channels: Mapping[str, int]) -> list[str]:
    """Makes the maxima the only outputs of a model, and returns their names."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    opset = next(one.version for one in model.opset_import if one.domain in {"", "ai.onnx"})
    as_input = opset >= _AXES_ARE_AN_INPUT_FROM_OPSET
    graph.initializer.append(numpy_helper.from_array(np.array([0]), _AXES))
    del graph.output[:]
    for i, (tensor, size) in enumerate(channels.items()):
        rows, cast, magnitudes, largest = (f"maxima/{part}/{i}" for part in "rcml")
        shape = f"maxima/shape/{i}"
        graph.initializer.append(numpy_helper.from_array(np.array([-1, size]), shape))
        graph.node.extend(
            [
                helper.make_node("Reshape", [tensor, shape], [rows]),
                helper.make_node("Cast", [rows], [cast], to=TensorProto.FLOAT),
                helper.make_node("Abs", [cast], [magnitudes]),
                _largest(magnitudes, largest, as_input),
            ]
        )
        graph.output.append(helper.make_tensor_value_info(largest, TensorProto.FLOAT, [size]))
    return [output.name for output in graph.output]


def _largest(tensor: str, output: str, axes_are_an_input: bool) -> onnx.NodeProto:
    """A node for the maximum along the first axis."""
    from onnx import helper

    if axes_are_an_input:
        return helper.make_node("ReduceMax", [tensor, _AXES], [output], keepdims=0)
    return helper.make_node("ReduceMax", [tensor], [output], keepdims=0, axes=[0])

"""What a file multiplies, from its shapes alone: where a provider compiles nodes into one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlopt.diagnosis.arithmetic import Shape, macs_of, weight_index
from mlopt.diagnosis.graph import Graph
from mlopt.diagnosis.operators import DEQUANTIZE, arithmetic_of
from mlopt.types.diagnosis import Arithmetic

if TYPE_CHECKING:
    import onnx


class Expected(NamedTuple):
    """Work of one inference.

    Attributes:
        macs: Multiply-accumulates by arithmetic.
        bytes_moved: Of the constants of the file, each read once.
        unknown: Products whose shapes cannot be told.
    """

    macs: dict[Arithmetic, int]
    bytes_moved: int
    unknown: int


def expected_work(model: Path, inputs: Mapping[str, Shape]) -> Expected:
    """Multiply-accumulates of a file for inputs of known shapes, by ONNX's shape inference.

    A product of dequantized factors counts as INT8, whatever the provider makes of it.

    Args:
        model: The file.
        inputs: Shapes by name.
    """
    import onnx
    from onnx import helper

    proto = onnx.load(str(model), load_external_data=False)
    graph = Graph(proto, model.parent)
    shapes = _inferred(proto, inputs)
    macs: dict[Arithmetic, int] = defaultdict(int)
    unknown = 0
    for node in graph.nodes:
        kind = arithmetic_of(node.op_type)
        if kind is None:
            continue
        given = [shapes.get(name) or graph.shape(name) for name in node.input]
        made = [shapes[name] for name in node.output if name in shapes]
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        count = macs_of(node.op_type, given, made, attributes)
        if count is None:
            unknown += 1
            continue
        both = [graph.producer(node.input[i]) for i in (0, weight_index(node.op_type))]
        quantized = all(one is not None and one.op_type == DEQUANTIZE for one in both)
        macs["int8" if quantized else kind] += count
    constants = sum(graph.size_bytes(t.name) for t in proto.graph.initializer)
    return Expected(dict(macs), constants, unknown)


def _inferred(proto: onnx.ModelProto, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of all values as far as they can be told."""
    import onnx

    for value in proto.graph.input:
        sizes = inputs.get(value.name)
        if sizes is None:
            continue
        for dimension, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
            dimension.dim_value = size
    del proto.graph.value_info[:]  # it may say less, with the dynamic axes of the exporter
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        found = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except Exception:  # noqa: BLE001  # of its C++ side; nothing is known then
        return {}
    known: dict[str, Shape] = {}
    for value in (*found.input, *found.value_info, *found.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            known[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return known

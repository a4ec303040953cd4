"""What a graph gives away about the transformer that it was exported from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import onnx

    Neighbours = Mapping[str, list[onnx.NodeProto]]

OF_TRANSFORMERS = frozenset(
    {
        "Attention", "EmbedLayerNormalization", "LayerNormalization", "MultiHeadAttention",
        "RMSNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization",
    }
)  # fmt: skip
"""Operators that stand in transformers, and in little else."""

BETWEEN = frozenset({"Add", "Cast", "Div", "Dropout", "Identity", "IsNaN", "Mul", "Sub", "Where"})
"""What stands between the two products of an attention and its Softmax: scale, mask, dropout."""

_MOST_BETWEEN = 6


def is_transformer(graph: onnx.GraphProto) -> bool:
    """Whether the graph normalizes over features, or has a Softmax between two matrix products."""
    if any(node.op_type in OF_TRANSFORMERS for node in graph.node):
        return True
    made_by = defaultdict[str, list["onnx.NodeProto"]](list)
    read_by = defaultdict[str, list["onnx.NodeProto"]](list)
    for node in graph.node:
        for name in node.output:
            made_by[name].append(node)
        for name in node.input:
            read_by[name].append(node)
    return any(
        _reaches_product(node, "input", made_by) and _reaches_product(node, "output", read_by)
        for node in graph.node
        if node.op_type == "Softmax"
    )


def _reaches_product(start: onnx.NodeProto, side: str, neighbours: Neighbours) -> bool:
    """Whether a MatMul stands on that side, with nothing but what may stand between."""
    current = [start]
    for _ in range(_MOST_BETWEEN):
        following = [
            one for node in current for name in getattr(node, side) for one in neighbours[name]
        ]
        if any(node.op_type == "MatMul" for node in following):
            return True
        current = [node for node in following if node.op_type in BETWEEN]
    return False


class Heads(NamedTuple):
    """How the features of a token are divided among the heads of an attention.

    Attributes:
        hidden: Features of a token; ``number`` times the features of a head.
    """

    number: int
    hidden: int


def find_heads(graph: onnx.GraphProto) -> Heads | None:
    """The heads, read off the Reshape that divides (N, T, hidden) into (N, T, heads, features).

    Returns:
        What most of these say; None where there is none.
    """
    constants = _integer_constants(graph)
    made_by = {name: node for node in graph.node for name in node.output}
    found = Counter[Heads]()
    for node in graph.node:
        if node.op_type != "Reshape" or len(node.input) < 2:
            continue
        shape = _shape(node.input[1], constants, made_by)
        if len(shape) == 4 and shape[2] is not None and shape[3] is not None:
            number, features = shape[2], shape[3]
            if number > 1 and features > 1:
                found[Heads(number, number * features)] += 1
    return found.most_common(1)[0][0] if found else None


def _shape(
    name: str, constants: Mapping[str, list[int]], made_by: Mapping[str, onnx.NodeProto]
) -> list[int | None]:
    """The sizes that a Reshape asks for; None for one that is computed."""
    if name in constants:
        return list(constants[name])
    node = made_by.get(name)
    if node is None or node.op_type != "Concat":
        return []
    sizes: list[int | None] = []
    for part in node.input:
        sizes += constants.get(part, [None])
    return sizes


def _integer_constants(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Small constants, by name: those of the graph and those of its Constant nodes."""
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return {
        name: numpy_helper.to_array(tensor).reshape(-1).tolist()
        for name, tensor in tensors.items()
        if tensor.data_type == TensorProto.INT64 and len(tensor.dims) < 2 and sum(tensor.dims) < 8
    }

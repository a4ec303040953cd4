"""A quantized graph, cut at the tensors that the float graph computes too.

A quantizer renames, fuses and removes nodes, and leaves most tensors their names. Each of those is a
cut. What lies between cuts computes the same in both graphs, once in float and once in 8 bits, and
it does so whatever the quantizer did in between: Q/DQ pairs, integer products, a ReLU that became the
lower end of a range.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlopt.passes._quantization import FLOAT_PRODUCTS, INTEGER_PRODUCTS

if TYPE_CHECKING:
    import onnx

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

_QUANTIZING = INTEGER_PRODUCTS | {QUANTIZE, DEQUANTIZE, "DynamicQuantizeLinear", "MatMulNBits"}

BEFORE_ANY_PRODUCT = -1
"""What the nodes belong to that stand before the first product."""


class Slice(NamedTuple):
    """How the quantized graph computes one tensor from others that both graphs have.

    Attributes:
        tensor: Its name in both.
        nodes: Of the quantized graph, in their order. Where all that read the tensor read it
            quantized, they end with its Q/DQ pair: what a node puts out in 8 bits is its own doing.
        result: What the last of them calls it.
        replaces: Positions of the nodes that compute it in the float graph.
        reads: Other tensors that it reads in 8 bits, each with what their Q/DQ pair makes of them.
    """

    tensor: str
    nodes: tuple[onnx.NodeProto, ...]
    result: str
    replaces: tuple[int, ...]
    reads: tuple[tuple[str, str], ...]


def cut(floats: onnx.GraphProto, quantized: onnx.GraphProto) -> list[Slice]:
    """The slices in which something is in 8 bits, in the order of the float graph.

    Args:
        floats: The graph that the quantizer took.
        quantized: What it made of it. Both list their nodes in topological order, as ONNX demands.
    """
    ours, theirs = producers_of(floats), producers_of(quantized)
    inputs = {i.name for i in floats.input} & {i.name for i in quantized.input}
    shared = inputs | (ours.keys() & theirs.keys())
    readers = _readers(quantized)
    kept = {output.name for output in quantized.output}
    found = []
    for tensor in (name for name in ours if name in theirs):
        nodes = [quantized.node[i] for i in _behind(tensor, quantized, theirs, shared)]
        pair = None if tensor in kept else _own_pair(tensor, readers)
        whole = (*nodes, *(pair or ()))
        if any(map(_is_quantizing, whole)) and not any(map(_has_branches, whole)):
            result = tensor if pair is None else pair[-1].output[0]
            replaces = tuple(_behind(tensor, floats, ours, shared))
            reads = tuple(_read_in_8_bits(nodes, shared))
            found.append(Slice(tensor, whole, result, replaces, reads))
    return found


def owners(graph: onnx.GraphProto) -> list[int]:
    """The product that each node belongs to: the nearest one before it.

    A product is one of itself; an addition or an activation belongs to what it is applied to, and
    where paths meet, as at the end of a residual block, to the last product of any path.

    Returns:
        For each node the position of its product, or :data:`BEFORE_ANY_PRODUCT`.
    """
    producers = producers_of(graph)
    found: list[int] = []
    for position, node in enumerate(graph.node):
        before = (found[producers[name]] for name in node.input if name in producers)
        is_product = node.op_type in FLOAT_PRODUCTS
        found.append(position if is_product else max(before, default=BEFORE_ANY_PRODUCT))
    return found


def producers_of(graph: onnx.GraphProto) -> dict[str, int]:
    """The position of the node that computes each tensor."""
    return {name: i for i, node in enumerate(graph.node) for name in node.output if name}


def shared_tensors(floats: onnx.GraphProto, quantized: onnx.GraphProto) -> int:
    """How many tensors both graphs compute under one name."""
    return len(producers_of(floats).keys() & producers_of(quantized).keys())


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _behind(
    tensor: str, graph: onnx.GraphProto, producers: Mapping[str, int], shared: Container[str]
) -> list[int]:
    """Positions of the nodes between a tensor and the nearest shared ones that it is computed from."""
    found = set[int]()
    waiting = [tensor]
    while waiting:
        position = producers.get(waiting.pop())
        if position is not None and position not in found:
            found.add(position)
            waiting += [name for name in graph.node[position].input if name not in shared]
    return sorted(found)


def _own_pair(
    tensor: str, readers: Mapping[str, list[onnx.NodeProto]]
) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The Q/DQ pair that stands between a tensor and all that read it; None where there is none."""
    first = readers.get(tensor, [])
    if not first or any(node.op_type != QUANTIZE for node in first):
        return None
    after = readers.get(first[0].output[0], [])
    dequantize = next((node for node in after if node.op_type == DEQUANTIZE), None)
    return None if dequantize is None else (first[0], dequantize)


def _read_in_8_bits(
    nodes: Sequence[onnx.NodeProto], shared: Container[str]
) -> Iterator[tuple[str, str]]:
    """Shared tensors that pass a Q/DQ pair, and what comes out of it."""
    for quantize in nodes:
        if quantize.op_type == QUANTIZE and quantize.input[0] in shared:
            for node in nodes:
                if node.op_type == DEQUANTIZE and node.input[0] == quantize.output[0]:
                    yield quantize.input[0], node.output[0]


def _is_quantizing(node: onnx.NodeProto) -> bool:
    return node.op_type in _QUANTIZING or node.op_type.startswith("QLinear")


def _has_branches(node: onnx.NodeProto) -> bool:
    """Branches and loop bodies read tensors of the outer graph by name, unseen from here."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)

"""Q/DQ where ONNX Runtime needs it to fuse, and neural-compressor put none.

Its scheme follows another compiler, which adds a residual inside of the convolution before it: there
nothing is quantized between the two. ONNX Runtime runs a convolution in INT8 only where its output
is quantized too (onnxruntime/core/optimizer/qdq_transformer/selectors_actions/qdq_selectors.cc).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from mlopt.passes._inc.graph import (
    DEQUANTIZE,
    QUANTIZE,
    Grid,
    add_constant,
    constant,
    converter,
    grid_of,
    made_by,
)

if TYPE_CHECKING:
    import onnx_ir as ir

JOINS = frozenset({"Add", "Concat", "Mul"})
"""Operators on several activations with an INT8 kernel that wants all of them quantized."""

POOLS = frozenset({"AveragePool", "GlobalAveragePool"})

Places: TypeAlias = dict["ir.Value", "ir.Node | None"]
"""Values to be quantized, in the graph's order, and the QuantizeLinear that reads each already."""


class Completed(NamedTuple):
    """What was added.

    Attributes:
        pairs: QuantizeLinear and DequantizeLinear, with a scale of their own.
        reused: Only a DequantizeLinear, behind a QuantizeLinear that was there.
    """

    pairs: int
    reused: int


def missing_places(
    model: ir.Model, activations: bool, symmetric: bool, exclude: Sequence[str] = ()
) -> Places:
    """Where Q/DQ is missing.

    Args:
        model: Its weights are stored as integers.
        activations: Also before a product of two activations, as in attention.
        symmetric: Whether the zero points to come lie in the middle: then a ReLU is no part of the
            rounding, and what stands before it is quantized.
        exclude: Names of nodes that stay in float.
    """
    places: Places = {}
    for node in model.graph:
        if node.name in exclude:
            continue
        read = [value for value in node.inputs if value is not None]
        if node.op_type == "Conv" and all(made_by(value, DEQUANTIZE) for value in read[:2]):
            _close(node, places, symmetric)
        elif node.op_type in JOINS and all(_is_at_hand(value, places) for value in read):
            for value in read:
                _open(value, places)
            _close(node, places, symmetric)
        elif node.op_type in POOLS and _is_at_hand(read[0], places):
            _open(read[0], places)
            _close(node, places, symmetric)
        elif node.op_type == "MatMul" and activations and not any(_is_constant(v) for v in read):
            for value in read:
                _open(value, places)
    return places


def _is_constant(value: ir.Value) -> bool:
    dequantize = made_by(value, DEQUANTIZE)
    return constant(value if dequantize is None else dequantize.inputs[0]) is not None


def _is_at_hand(value: ir.Value, places: Places) -> bool:
    """Whether the integers of an activation exist, or will."""
    known = made_by(value, DEQUANTIZE) or value in places or _quantizer(value) is not None
    return bool(known) and not _is_constant(value)


def _quantizer(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that reads ``value``."""
    return next((node for node in value.consumers() if node.op_type == QUANTIZE), None)


def _open(value: ir.Value, places: Places) -> None:
    """Has whoever reads ``value`` read it quantized."""
    if made_by(value, DEQUANTIZE) is None:
        places.setdefault(value, _quantizer(value))


def _close(node: ir.Node, places: Places, symmetric: bool) -> None:
    """Has the output of ``node`` quantized, where a ReLU that is rounding as well counts to it."""
    output = node.outputs[0]
    readers = output.consumers()
    end = output
    if len(readers) == 1 and not output.is_graph_output() and _cuts_at_zero(readers[0]):
        after = readers[0].outputs[0]
        quantizer = _quantizer(after)
        starts_at_zero = not symmetric if quantizer is None else _starts_at_zero(quantizer)
        end = after if starts_at_zero else output
    quantizer = _quantizer(end)
    if quantizer is None or len(end.consumers()) > 1 or end.is_graph_output():
        places.setdefault(end, quantizer)


def _cuts_at_zero(node: ir.Node) -> bool:
    """Whether a node sets what is negative to zero."""
    if node.op_type == "Clip":
        low = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        return low is not None and bool(low == 0)
    return node.op_type == "Relu"


def _starts_at_zero(quantizer: ir.Node) -> bool:
    """Whether the smallest integer stands for zero, so that rounding cuts off what is negative."""
    import numpy as np

    grid = grid_of(quantizer)
    return grid is not None and bool((grid.zero_point == np.iinfo(grid.zero_point.dtype).min).all())


def complete(model: ir.Model, places: Places, grids: Mapping[str, Grid]) -> Completed:
    """Adds what is missing, in place.

    Args:
        model: The graph that the places lie in.
        places: Where.
        grids: Of each place that nothing quantizes yet, by the value's name.
    """
    reused = sum(quantizer is not None for quantizer in places.values())
    for value, quantizer in places.items():
        _insert(model.graph, value, quantizer or _new_quantizer(model.graph, value, grids))
    model.graph.sort()  # a reader may stand before the QuantizeLinear that it now depends on
    return Completed(len(places) - reused, reused)


def _new_quantizer(graph: ir.Graph, value: ir.Value, grids: Mapping[str, Grid]) -> ir.Node:
    name = str(value.name)
    scale = add_constant(graph, f"{name}_scale", grids[name].scale)
    zero_point = add_constant(graph, f"{name}_zero_point", grids[name].zero_point)
    node = converter(QUANTIZE, value, name, (scale, zero_point), None)
    maker = value.producer()
    if maker is None:  # an input of the graph
        graph.insert_before(graph[0], node)
    else:
        graph.insert_after(maker, node)
    return node


def _insert(graph: ir.Graph, value: ir.Value, quantizer: ir.Node) -> None:
    """Has all readers of ``value`` but ``quantizer`` read the integers of that one."""
    scale, zero_point = quantizer.inputs[1:3]
    assert scale is not None, "an activation is quantized with a scale"
    assert zero_point is not None, "and with a zero point"
    name = str(value.name)
    integers = quantizer.outputs[0]
    dequantize = converter(DEQUANTIZE, integers, name, (scale, zero_point), None)
    floats = dequantize.outputs[0]
    floats.shape = value.shape
    graph.insert_after(quantizer, dequantize)
    is_output = value.is_graph_output()
    for user, position in value.uses():
        if user is not quantizer:
            user.replace_input_with(position, floats)
    if is_output:
        for position, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[position] = floats
        value.name = f"{name}_in_float"
        floats.name = name

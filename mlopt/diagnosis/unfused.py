"""Which QuantizeLinear and DequantizeLinear are left after the runtime's optimizations, and why.

The reasons follow the rules by which ONNX Runtime fuses Q/DQ on the CPU provider
(``qdq_selectors.cc``): every data input is dequantized, the output goes to exactly one
QuantizeLinear, types agree, scales are constant scalars.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mlopt.diagnosis.graph import Graph, attribute, quantized_type
from mlopt.diagnosis.operators import (
    ABSORBED,
    BOOKKEEPING,
    DEQUANTIZE,
    FUSED,
    QUANTIZE,
    is_int8,
    rule_of,
)
from mlopt.diagnosis.reasons import BECAUSE
from mlopt.types.diagnosis import Reason, Unfused

if TYPE_CHECKING:
    import onnx

SHOWN = 5
"""Names of nodes that stand with a reason."""

FUSING_LEVELS = frozenset({"extended", "all"})
_EIGHT_BITS = frozenset({"INT8", "UINT8"})
_MAXPOOL_SINCE = 12
"""The first operator set whose MaxPool takes 8 bits."""

_DATA = {"conv": (0, 1), "matmul": (0, 1), "gemm": (0, 1), "binary": (0, 1), "where": (1, 2)}
"""Which inputs must be dequantized, by rule; the first one elsewhere, and all of a Concat."""

_WEIGHTED = frozenset({"conv", "matmul", "gemm"})
_FLOAT_OUTPUT = frozenset({"matmul", "gemm"})
"""Rules that also fuse without a QuantizeLinear behind the operator."""


class _Cause(NamedTuple):
    reason: Reason
    operator: str = ""
    node: str = ""


def unfused(graph: Graph, times_ms: Mapping[str, float], level: str = "all") -> tuple[Unfused, ...]:
    """What was not fused, by reason and operator; most time first.

    Args:
        graph: As the runtime executes it.
        times_ms: Of each node by name.
        level: The session's graph optimizations: none, basic, extended or all.
    """
    found: dict[tuple[Reason, str], list[tuple[str, float]]] = defaultdict(list)
    for node in graph.nodes:
        if node.op_type not in {QUANTIZE, DEQUANTIZE}:
            continue
        cause = _cause(graph, node, level)
        found[cause.reason, cause.operator].append((cause.node, times_ms.get(node.name, 0.0)))
    listed = [
        Unfused(
            reason=reason,
            operator=operator,
            nodes=tuple(dict.fromkeys(name for name, _ in nodes if name))[:SHOWN],
            count=len(nodes),
            time_ms=sum(time for _, time in nodes),
            because=BECAUSE[reason].format(operator=operator),
        )
        for (reason, operator), nodes in found.items()
    ]
    return tuple(sorted(listed, key=lambda one: -one.time_ms))


def _cause(graph: Graph, node: onnx.NodeProto, level: str) -> _Cause:
    if node.op_type == QUANTIZE:
        neighbour = graph.source(node.input[0])
        if neighbour is None:
            return _Cause("model_input")
    else:
        readers = graph.users(node.output[0])
        if not readers:
            return _Cause("model_output")
        values = [one for one in readers if one.op_type not in BOOKKEEPING]
        neighbour = (values or readers)[0]
    if neighbour.op_type in {QUANTIZE, DEQUANTIZE}:
        return _Cause("scales_differ")
    operator = FUSED.get(neighbour.op_type, neighbour.op_type)
    if level not in FUSING_LEVELS:
        return _Cause("optimization_level", operator, neighbour.name)
    return _Cause(_why_not(graph, neighbour), operator, neighbour.name)


def _why_not(graph: Graph, node: onnx.NodeProto) -> Reason:
    """Why a float operator, or one that gives float values, was not fused with what stands around it."""
    if is_int8(node.op_type):
        return _why_not_its_output(graph, node, None) or "float_output"
    if node.op_type in ABSORBED:
        return "activation_between"
    rule = rule_of(node.op_type)
    if rule is None:
        return "no_int8_kernel"
    if node.op_type == "MaxPool" and graph.opset < _MAXPOOL_SINCE:
        return "operator_version"
    return (
        _why_not_its_inputs(graph, node, rule)
        or _why_not_its_output(graph, node, rule)
        or _why_not_its_types(graph, node, rule)
        or "unknown"
    )


def _why_not_its_inputs(graph: Graph, node: onnx.NodeProto, rule: str) -> Reason | None:
    for index in _data_inputs(node, rule):
        source = graph.source(node.input[index])
        if source is None and graph.is_constant(node.input[index]):
            return "float_weight"
        if source is None or source.op_type != DEQUANTIZE:
            return "float_input"
    if rule in {"conv", "gemm"} and len(node.input) > 2 and node.input[2]:
        bias = graph.source(node.input[2])
        if bias is None or bias.op_type != DEQUANTIZE:
            return "float_bias"
    return None


def _data_inputs(node: onnx.NodeProto, rule: str) -> tuple[int, ...]:
    if rule == "variadic":
        return tuple(range(len(node.input)))
    return _DATA.get(rule, (0,))


def _why_not_its_output(graph: Graph, node: onnx.NodeProto, rule: str | None) -> Reason | None:
    """Why the values that it makes are not 8 bits.

    Args:
        graph: As the runtime executes it.
        node: Whose values.
        rule: That it follows; None: it is an INT8 operator whose output is float.
    """
    for value in node.output:
        users = graph.users(value)
        quantizers = sum(user.op_type == QUANTIZE for user in users)
        if quantizers and (len(users) > 1 or value in graph.outputs):
            return "output_read_twice"
        if quantizers and attribute(node, "activation", b""):
            return "activation_between"  # fused into the float operator
        if quantizers or rule is None or rule in _FLOAT_OUTPUT:
            continue
        after = [u for u in users if u.op_type in ABSORBED]
        if any(graph.users(u.output[0]) for u in after):
            return "activation_between"
        return "output_not_quantized"
    return None


def _why_not_its_types(graph: Graph, node: onnx.NodeProto, rule: str) -> Reason | None:
    before = [graph.source(node.input[index]) for index in _data_inputs(node, rule)]
    pairs = [one for one in before if one is not None]
    pairs += [u for u in graph.users(node.output[0]) if u.op_type == QUANTIZE]
    types = [quantized_type(graph, one) for one in pairs]
    if not _EIGHT_BITS.issuperset(types):
        return "other_bits"
    activations = types[:1] + types[2:] if rule in _WEIGHTED else types
    if len(set(activations)) > 1:
        return "types_differ"
    if rule in _WEIGHTED and activations[0] == "INT8":
        return "types_differ" if types[1] != "INT8" else "signed_activations"
    return _why_not_its_scales(graph, pairs, rule)


def _why_not_its_scales(graph: Graph, pairs: list[onnx.NodeProto], rule: str) -> Reason | None:
    for index, one in enumerate(pairs):
        shape = graph.shape(one.input[1])
        if shape is None:
            return "scale_not_constant"
        is_weight = rule in _WEIGHTED and index == 1
        if not is_weight and shape not in {(), (1,)}:
            return "scale_not_scalar"
    if rule == "move" and len({_parameters(graph, one) for one in pairs}) > 1:
        return "scales_differ"
    return None


def _parameters(graph: Graph, node: onnx.NodeProto) -> tuple[float, float]:
    """Scale and zero point of a node whose scale is a constant scalar."""
    values = [graph.array(name) for name in node.input[1:3]]
    scale, *zero = (0.0 if v is None else float(v.reshape(-1)[0]) for v in values)
    return scale, zero[0] if zero else 0.0

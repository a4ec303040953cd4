"""Float operators between INT8 ones, and operators that have no INT8 kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mlopt.diagnosis.graph import Graph
from mlopt.diagnosis.operators import (
    BOOKKEEPING,
    DEQUANTIZE,
    LAYOUT,
    QUANTIZE,
    has_int8_kernel,
    is_int8,
)
from mlopt.types.diagnosis import FloatOperator, Islands, OperatorCost

if TYPE_CHECKING:
    import onnx

LEAST_SHARE = 0.01
"""Of the time of all nodes: operators that take less are not worth a line."""


def float_islands(graph: Graph, times_ms: Mapping[str, float]) -> Islands | None:
    """Connected groups of float operators that a DequantizeLinear leads to and a QuantizeLinear leaves.

    Args:
        graph: As the runtime executes it.
        times_ms: Of each node by name.
    """
    seen: set[int] = set()
    members: list[onnx.NodeProto] = []
    count = 0
    for node in graph.nodes:
        if id(node) in seen or not _is_float(node):
            continue
        group = _connected(graph, node, seen)
        if _lies_between(graph, group):
            count += 1
            members += group
    if not count:
        return None
    types = Counter(node.op_type for node in members if node.op_type not in LAYOUT)
    time = sum(times_ms.get(node.name, 0.0) for node in members)
    return Islands(count=count, operators=dict(types.most_common()), time_ms=time)


def _is_float(node: onnx.NodeProto) -> bool:
    ends = {QUANTIZE, DEQUANTIZE} | BOOKKEEPING
    return node.op_type not in ends and not is_int8(node.op_type)


def _connected(graph: Graph, first: onnx.NodeProto, seen: set[int]) -> list[onnx.NodeProto]:
    group, waiting = [], [first]
    seen.add(id(first))
    while waiting:
        node = waiting.pop()
        group.append(node)
        makers = (graph.producer(name) for name in node.input if name)
        readers = (reader for name in node.output for reader in graph.readers(name))
        for other in (*(m for m in makers if m is not None), *readers):
            if id(other) not in seen and _is_float(other):
                seen.add(id(other))
                waiting.append(other)
    return group


def _lies_between(graph: Graph, group: Iterable[onnx.NodeProto]) -> bool:
    """Whether INT8 values lead to the group and come out of it."""
    entered = left = False
    for node in group:
        for name in node.input:
            maker = graph.producer(name)
            if maker is not None and (maker.op_type == DEQUANTIZE or is_int8(maker.op_type)):
                entered |= not graph.is_constant(maker.input[0])
        left |= any(r.op_type == QUANTIZE for name in node.output for r in graph.readers(name))
    return entered and left


def without_int8_kernel(operators: Iterable[OperatorCost]) -> tuple[FloatOperator, ...]:
    """Float operators that have no INT8 kernel on the CPU provider and take time, most first."""
    ends = {QUANTIZE, DEQUANTIZE, "DynamicQuantizeLinear"} | BOOKKEEPING | LAYOUT
    return tuple(
        FloatOperator(operator=one.operator, nodes=one.nodes, time_ms=one.time_ms, share=one.share)
        for one in operators
        if one.provider == "CPUExecutionProvider"
        and one.share >= LEAST_SHARE
        and one.operator not in ends
        and not is_int8(one.operator)
        and not has_int8_kernel(one.operator)
    )

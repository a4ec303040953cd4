"""From a trace and the graph that ran to the cost of each node and each type of operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mlopt.diagnosis.arithmetic import Shape, macs_of
from mlopt.diagnosis.graph import Graph
from mlopt.diagnosis.operators import arithmetic_of
from mlopt.diagnosis.trace import Kernel, Trace
from mlopt.types.diagnosis import NodeCost, OperatorCost

if TYPE_CHECKING:
    import onnx


def node_costs(trace: Trace, graph: Graph | None) -> tuple[NodeCost, ...]:
    """The cost of every node that ran, most time first.

    Args:
        trace: What the profiler saw.
        graph: As the runtime executes it, for the shapes of weights, which kernels pack for
            themselves and the trace leaves out; None where the runtime cannot write it.
    """
    total = trace.nodes_ms or 1.0
    nodes = {} if graph is None else graph.by_name
    found = [_cost(kernel, nodes.get(kernel.name), graph, total) for kernel in trace.kernels]
    return tuple(sorted(found, key=lambda one: -one.time_ms))


def _cost(
    kernel: Kernel, node: onnx.NodeProto | None, graph: Graph | None, total_ms: float
) -> NodeCost:
    constants = kernel.parameter_bytes
    inputs: Sequence[Shape | None] = kernel.inputs
    attributes = {}
    if node is not None and graph is not None:
        from onnx import helper

        constants = sum(graph.size_bytes(name) for name in dict.fromkeys(node.input))
        inputs = _input_shapes(kernel, node, graph)
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return NodeCost(
        name=kernel.name,
        operator=kernel.operator,
        provider=kernel.provider,
        time_ms=kernel.time_ms,
        share=kernel.time_ms / total_ms,
        bytes_moved=kernel.activation_bytes + constants + kernel.output_bytes,
        weight_bytes=constants,
        arithmetic=kernel.arithmetic or arithmetic_of(kernel.operator),
        macs=macs_of(kernel.operator, inputs, kernel.outputs, attributes),
    )


def _input_shapes(kernel: Kernel, node: onnx.NodeProto, graph: Graph) -> list[Shape | None]:
    """Shapes by position: of constants from the graph, of the others as far as the trace is whole."""
    names = list(node.input)
    whole = len(kernel.inputs) == sum(map(bool, names))
    shapes = iter(kernel.inputs)
    found: list[Shape | None] = []
    for index, name in enumerate(names):
        seen = next(shapes, None) if name and (whole or index == 0) else None
        constant = graph.shape(name) if name else None
        found.append(seen if constant is None else constant)
    return found


def operator_costs(nodes: Iterable[NodeCost]) -> tuple[OperatorCost, ...]:
    """Nodes by type and provider, most time first."""
    groups: dict[tuple[str, str], list[NodeCost]] = defaultdict(list)
    for node in nodes:
        groups[node.operator, node.provider].append(node)
    found = [
        OperatorCost(
            operator=operator,
            provider=provider,
            nodes=len(members),
            time_ms=sum(one.time_ms for one in members),
            share=sum(one.share for one in members),
            arithmetic=members[0].arithmetic,
            macs=sum(one.macs or 0 for one in members) or None,
        )
        for (operator, provider), members in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.time_ms))

"""A model on one provider of this machine, run and explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.diagnosis.advice import EXPLAINED, Surroundings, advise, explained_share
from mlopt.diagnosis.by_openvino import execute_openvino
from mlopt.diagnosis.costs import node_costs, operator_costs
from mlopt.diagnosis.execution import Assigned, Execution, WithProfiler, execute
from mlopt.diagnosis.expected import expected_work
from mlopt.diagnosis.graph import Graph
from mlopt.diagnosis.islands import float_islands, without_int8_kernel
from mlopt.diagnosis.operators import is_int8
from mlopt.diagnosis.peaks import at_least_reached, measure_peaks
from mlopt.diagnosis.saturation import portability
from mlopt.diagnosis.unfused import SHOWN, unfused
from mlopt.errors import ModelError, listing
from mlopt.machine.processor import Processor, read_processor
from mlopt.providers import Provider, resolve_provider
from mlopt.runners import RUNNERS
from mlopt.runners.onnxruntime import OnnxRuntimeRunner
from mlopt.runners.openvino import OpenVinoRunner
from mlopt.types.artifact import Artifact
from mlopt.types.diagnosis import (
    Arithmetic,
    Diagnosis,
    Fallback,
    NodeCost,
    OperatorCost,
    Peaks,
    Portability,
)

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

SLOWEST = 10
"""Nodes that are listed one by one."""

ACCUMULATES_IN_32_BITS = ("avx512_vnni", "avx_vnni", "amx_int8")


class Subject(NamedTuple):
    """What to diagnose.

    Attributes:
        artifact: An ONNX model.
        runner: Name of what executes it.
        settings: Session settings, as the runner understands them.
        provider: Name of the provider.
        inputs: Batches of one shape.
        synthetic: Whether they were made up.
    """

    artifact: Artifact
    runner: str
    settings: Mapping[str, Any]
    provider: str
    inputs: Sequence[Arrays]
    batch_size: int
    synthetic: bool


def diagnose(
    subject: Subject, scratch: Path, emit: Callable[[str], None] = lambda words: None
) -> Diagnosis:
    """Runs a model with the profiler and without, and says why it is as fast as it is.

    Runs in a worker process.

    Args:
        subject: What to run.
        scratch: An empty directory for copies, the trace, and the graph that the runtime makes.
        emit: Told what is going on.

    Raises:
        ModelError: It cannot be loaded or run here.
    """
    runner = RUNNERS[subject.runner].model_validate(dict(subject.settings))
    if not isinstance(runner, WithProfiler):
        raise ModelError(f"the runner '{runner.name}' has no profiler that mlopt reads")
    provider = resolve_provider(subject.provider)
    emit("running the model with the profiler and without")
    ran = _execute(subject, runner, provider, scratch)
    emit("measuring what the machine reaches")
    measured = measure_peaks(runner, provider, scratch)
    processor = read_processor()
    written = Graph.read(subject.artifact.main_file)
    nodes = node_costs(ran.trace, ran.graph)
    operators = operator_costs(nodes)
    peaks = at_least_reached(measured, nodes)
    work = _work(subject, ran, nodes)
    found = Diagnosis(
        provider=provider.label,
        processor=processor.model,
        runner=subject.runner,
        settings=dict(subject.settings),
        batch_size=subject.batch_size,
        synthetic=subject.synthetic,
        runs=ran.runs,
        p50_ms=median(ran.plain_ms),
        fastest_ms=min(ran.plain_ms),
        profiled_ms=median(ran.trace.run_ms),
        nodes_ms=ran.trace.nodes_ms,
        operators=operators,
        slowest=nodes[:SLOWEST],
        macs=work.macs,
        bytes_moved=work.bytes_moved,
        portability=_portability(ran.graph or written, processor),
        fallbacks=_fallbacks(ran.assigned, provider),
        peaks=peaks,
        **_quantization(ran, nodes, operators, subject.settings),
    )
    notes = (*work.notes, *_notes(found), *_beaten(measured, peaks))
    found = found.model_copy(update={"notes": notes})
    return found.model_copy(update={"advice": advise(found, _around(written.opset, processor))})


def _around(opset: int, processor: Processor) -> Surroundings:
    return Surroundings(
        is_x86=processor.is_x86,
        has_bf16=bool(processor.flags & {"amx_bf16", "avx512_bf16"}),
        openvino=resolve_provider("openvino").unavailable_because(),
        opset=opset,
    )


def _execute(
    subject: Subject, runner: WithProfiler, provider: Provider, scratch: Path
) -> Execution:
    try:
        if isinstance(runner, OpenVinoRunner):
            return execute_openvino(subject.artifact, runner, provider, subject.inputs)
        return execute(subject.artifact, runner, provider, subject.inputs, scratch)
    except ModelError as e:
        if not subject.synthetic:
            raise
        raise ModelError(
            f"{str(e).rstrip('.')}. Inputs were synthetic: give real ones with --data FILE.npz."
        ) from e


class _Work(NamedTuple):
    """What one inference multiplies and moves."""

    macs: dict[Arithmetic, int]
    bytes_moved: int
    notes: tuple[str, ...] = ()


def _work(subject: Subject, ran: Execution, nodes: Sequence[NodeCost]) -> _Work:
    """From the nodes that ran; from the file's shapes where a provider made one node of many."""
    if ran.graph is not None:
        macs = Counter[Arithmetic]()
        for node in nodes:
            if node.macs and node.arithmetic:
                macs[node.arithmetic] += node.macs
        return _Work(dict(macs), sum(node.bytes_moved for node in nodes))
    shapes = {name: array.shape for name, array in subject.inputs[0].items()}
    expected = expected_work(subject.artifact.main_file, shapes)
    seen = sum(one.nbytes for one in subject.inputs[0].values())
    compiled = (
        "compiles nodes into one, of which the profiler sees a single time"
        if subject.runner == OnnxRuntimeRunner.name
        else "makes nodes of its own out of those of the file, shown with the kernel that runs them"
    )
    notes = [
        f"{subject.provider} {compiled}; what is multiplied is counted in the file, and a product of "
        "dequantized factors as INT8"
    ]
    if expected.unknown:
        notes.append(
            f"the shapes of {expected.unknown} products cannot be told: they are not counted"
        )
    return _Work(expected.macs, expected.bytes_moved + seen, tuple(notes))


def _quantization(
    ran: Execution,
    nodes: Sequence[NodeCost],
    operators: Sequence[OperatorCost],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What is INT8, what is not, and why, as fields of the diagnosis."""
    graph = ran.graph
    if graph is None:
        return {}
    times = {node.name: node.time_ms for node in nodes}
    fused = Counter(node.op_type for node in graph.nodes if is_int8(node.op_type))
    left = unfused(graph, times, str(settings["graph_optimization"]))
    return {
        "fused": dict(fused.most_common()),
        "unfused": left,
        "islands": float_islands(graph, times),
        "without_kernel": without_int8_kernel(operators) if fused or left else (),
    }


def _fallbacks(assigned: Sequence[Assigned], provider: Provider) -> tuple[Fallback, ...]:
    groups: dict[tuple[str, str], list[str]] = {}
    for one in assigned:
        if one.provider != provider.ort_name:
            groups.setdefault((one.provider, one.operator), []).append(one.name)
    found = [
        Fallback(provider=name, operator=operator, count=len(names), nodes=tuple(names[:SHOWN]))
        for (name, operator), names in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.count))


def _portability(graph: Graph, processor: Processor) -> Portability | None:
    known = processor.flags
    has = [flag for flag in ACCUMULATES_IN_32_BITS if flag in known]
    exact = processor.has_vnni if known else None
    return portability(graph, is_x86=processor.is_x86, exact=exact, how=listing(has))


def _notes(found: Diagnosis) -> list[str]:
    notes = [
        f"times of nodes are medians over {found.runs} inferences under the profiler, whose clock has "
        "steps of 1 us and which slows the model; they say where time goes, and 'mlopt profile' how "
        "much it is"
    ]
    if (explained := explained_share(found)) < EXPLAINED:
        notes.append(
            f"the nodes explain {explained:.0%} of an inference: the rest is spent between them"
        )
    if found.settings.get("execution_mode") == "parallel":
        notes.append(
            "branches run at the same time: times of nodes overlap, and shares are of work"
        )
    if found.synthetic:
        notes.append("inputs are synthetic (random): give real ones with --data FILE.npz")
    return notes


def _beaten(measured: Peaks, peaks: Peaks) -> list[str]:
    if measured == peaks:
        return []
    return [
        "a node was faster than the product that the peak was measured with, and its rate is taken for "
        "the peak: the machine was busy then, or the kernel needs less arithmetic (Winograd). Diagnose "
        "again on a quiet machine"
    ]

"""A model run with the profiler and without, by the settings and on the provider that ship."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.diagnosis.graph import Graph
from mlopt.diagnosis.trace import Trace, read_trace
from mlopt.errors import ModelError
from mlopt.providers import Provider
from mlopt.runners.onnxruntime import OnnxRuntimeRunner
from mlopt.runners.openvino import OpenVinoRunner
from mlopt.serving import Session
from mlopt.serving.attach import attach
from mlopt.serving.onnx_model import OnnxSession, session_options
from mlopt.types.artifact import Artifact

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime as ort

    Arrays = Mapping[str, np.ndarray[Any, Any]]

WARMUP = 3
FEWEST, MOST = 5, 40
SECONDS = 2.0
"""For the inferences of one session."""

OPTIMIZED = "optimized.onnx"

WithProfiler = OnnxRuntimeRunner | OpenVinoRunner
"""Runners of which there is a profiler that is read here."""


class Assigned(NamedTuple):
    """A node of the file, after the basic optimizations, and who took it."""

    provider: str
    name: str
    operator: str


class Execution(NamedTuple):
    """What was seen.

    Attributes:
        plain_ms: Inferences without the profiler.
        runs: Inferences under the profiler.
        graph: As the runtime executes it; None where a provider compiles parts of it.
        assigned: Which provider took what.
    """

    plain_ms: tuple[float, ...]
    runs: int
    trace: Trace
    graph: Graph | None
    assigned: tuple[Assigned, ...]


def execute(
    artifact: Artifact,
    runner: OnnxRuntimeRunner,
    provider: Provider,
    inputs: Sequence[Arrays],
    scratch: Path,
) -> Execution:
    """Runs the model by ONNX Runtime on ``inputs`` in turn, as it ships and then under the profiler.

    Args:
        artifact: An ONNX model.
        runner: Its settings.
        provider: Where it runs.
        inputs: Of one shape.
        scratch: An empty directory, for copies and the trace.

    Raises:
        ModelError: It cannot be loaded or run here.
    """
    model = runner.model(artifact, provider)
    try:
        session = model.create(model.sizes(inputs[0]))
        plain_ms = timed(session, inputs)
        del session  # its threads would go on spinning beside the next one
        return _profiled(artifact, runner, provider, inputs, scratch, plain_ms)
    except ModelError:
        raise
    except Exception as e:  # ONNX Runtime raises classes of its C++ side
        raise ModelError(
            f"{artifact.manifest.main} cannot be run on {provider.label}: {_first_line(e)}"
        ) from e


def timed(session: Session, inputs: Sequence[Arrays], seconds: float = SECONDS) -> list[float]:
    """Milliseconds of inferences one after the other, after a few that do not count."""
    with session.serving():
        return repeated([session.bind(one) for one in inputs], seconds)


def repeated(
    calls: Sequence[Callable[[], object]],
    seconds: float,
    after: Callable[[], object] = lambda: None,
) -> list[float]:
    """Milliseconds of calls in turn, for about ``seconds``, after a few that do not count.

    Args:
        calls: At least one.
        seconds: There are at least :data:`FEWEST` and at most :data:`MOST`.
        after: Called after each of the calls, those that do not count among them; it is not timed.
    """
    order = cycle(calls)
    took = [_milliseconds(call, after) for call in islice(order, WARMUP)]
    count = round(seconds * 1e3 / max(took[-1], 1e-3))
    return [_milliseconds(call, after) for call in islice(order, min(MOST, max(FEWEST, count)))]


def _milliseconds(call: Callable[[], object], after: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    took = time.perf_counter() - start
    after()
    return took * 1e3


def _profiled(
    artifact: Artifact,
    runner: OnnxRuntimeRunner,
    provider: Provider,
    inputs: Sequence[Arrays],
    scratch: Path,
    plain_ms: Sequence[float],
) -> Execution:
    sizes = runner.model(artifact, provider).sizes(inputs[0])
    session = _open(with_names(artifact.main_file, scratch), runner, provider, sizes, scratch)
    wrapped = OnnxSession(session, provider.binding)
    # Not bound: what the runtime does around the nodes belongs to the trace, and graphs that are
    # replayed have no nodes in it.
    took = repeated([partial(wrapped.run, one) for one in inputs], SECONDS)
    trace = read_trace(Path(session.end_profiling()), WARMUP)
    written = scratch / OPTIMIZED
    assigned = tuple(
        Assigned(subgraph.ep_name, node.name, node.op_type)
        for subgraph in session.get_provider_graph_assignment_info()
        for node in subgraph.get_nodes()
    )
    graph = Graph.read(written) if written.is_file() else None
    return Execution(tuple(plain_ms), len(took), trace, graph, assigned)


def _open(
    model: Path,
    runner: OnnxRuntimeRunner,
    provider: Provider,
    sizes: Mapping[str, int],
    scratch: Path,
) -> ort.InferenceSession:
    """A session under the profiler that leaves its graph in ``scratch``, if its provider lets it."""
    import onnxruntime as ort

    for keep in (True, False):
        options = session_options(runner.model_dump(mode="json"), sizes)
        options.enable_profiling = True
        options.profile_file_prefix = str(scratch / "trace")
        if keep:
            options.log_severity_level = 4  # that the graph is made for this machine is no news
            options.optimized_model_filepath = str(scratch / OPTIMIZED)
            prefix = "session.optimized_model_external_initializers"
            options.add_session_config_entry(f"{prefix}_file_name", "optimized.bin")
            options.add_session_config_entry(f"{prefix}_min_size_in_bytes", "1024")
        try:
            providers = attach(provider.attachment(options.intra_op_num_threads), options)
            return ort.InferenceSession(str(model), options, providers=providers, enable_fallback=0)
        except Exception:
            if not keep:
                raise
            (scratch / OPTIMIZED).unlink(missing_ok=True)
    raise AssertionError("the second attempt returns or raises")


def with_names(model: Path, scratch: Path) -> Path:
    """The model with a name for each node, which the trace and the graph are matched by.

    Args:
        model: The file.
        scratch: Where a copy goes if one is needed; external data is copied beside it.
    """
    import onnx

    found = onnx.load(str(model), load_external_data=False)
    taken: set[str] = set()
    changed = False
    for number, node in enumerate(found.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}_unnamed"
            changed = True
        taken.add(node.name)
    if not changed:
        return model
    target = scratch / "named" / "model.onnx"
    target.parent.mkdir()
    onnx.save(found, str(target))
    for name in _external_files(found):
        place = target.parent / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.parent / name, place)  # onnx refuses links
    return target


def _external_files(model: onnx.ModelProto) -> set[str]:
    return {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

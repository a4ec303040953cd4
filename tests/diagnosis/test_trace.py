"""Reading what the profiler writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlopt.diagnosis.trace import COMPILED, read_trace


def run(ts: int, dur: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": dur, "args": {}}


def kernel(name: str, ts: int, dur: int, operator: str = "Conv", **args: Any) -> dict[str, Any]:
    args = {"op_name": operator, "provider": "CPUExecutionProvider", **args}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": args}


def write(path: Path, *events: dict[str, Any]) -> Path:
    target = path / "trace.json"
    target.write_text(json.dumps(events))
    return target


def test_medians_are_over_the_runs_after_the_warm_up(tmp_path: Path) -> None:
    events = []
    for start, took in ((0, 900), (1000, 10), (2000, 30), (3000, 20)):
        events += [kernel("a", start + 5, took), run(start, took + 50)]

    trace = read_trace(write(tmp_path, *events), warmup=1)

    assert trace.run_ms == (0.06, 0.08, 0.07)
    assert [(k.name, k.time_ms) for k in trace.kernels] == [("a", 0.02)]
    assert trace.nodes_ms == 0.02


def test_a_node_that_runs_more_than_once_counts_with_all_of_its_runs(tmp_path: Path) -> None:
    inner = [kernel("inner", 10 * i, 5, "MatMul") for i in range(4)]
    events = [*inner, kernel("outer", 0, 45, "Loop"), run(0, 60)]

    trace = read_trace(write(tmp_path, *events))

    assert [(k.name, k.time_ms) for k in trace.kernels] == [("inner", 0.02)]


def test_what_stands_outside_of_an_inference_does_not_count(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, kernel("a", 500, 7), kernel("b", 10, 7), run(0, 100)))

    assert [k.name for k in trace.kernels] == ["b"]


def test_shapes_and_sizes_are_read(tmp_path: Path) -> None:
    args = {
        "activation_size": "48",
        "parameter_size": "16",
        "output_size": "32",
        "input_type_shape": [{"float": [1, 12]}, {"float": []}],
        "output_type_shape": [{"float": [1, 8]}],
    }
    (found,) = read_trace(write(tmp_path, kernel("a", 1, 2, **args), run(0, 9))).kernels

    assert (found.activation_bytes, found.parameter_bytes, found.output_bytes) == (48, 16, 32)
    assert (found.inputs, found.outputs) == (((1, 12), ()), ((1, 8),))


def test_a_trace_without_an_inference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no inference"):
        read_trace(write(tmp_path, kernel("a", 1, 2), run(0, 9)), warmup=1)


def test_a_node_that_a_provider_compiled_has_no_number_for_a_type(tmp_path: Path) -> None:
    event = kernel("X_1", 1, 2, "CPUExecutionProvider_123_0")

    (found,) = read_trace(write(tmp_path, event, run(0, 9))).kernels

    assert found.operator == COMPILED

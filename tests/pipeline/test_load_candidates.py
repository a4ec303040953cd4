"""A line on throughput makes a run measure its candidates under load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlopt import api
from mlopt.pipeline import load as pipeline_load
from mlopt.pipeline.load import affordable_launches, load_lines
from mlopt.types.budget import BudgetLine
from mlopt.types.workload import Workload

SIZES = (Workload(), Workload(batch_size=8))


def lines(*texts: str) -> list[tuple[str, tuple[float, ...], float]]:
    found = load_lines([BudgetLine.parse(text) for text in texts], SIZES)
    return [(line.workload.name, line.rates, line.p99_budget_ms) for line in found]


def test_the_rates_of_the_budget_are_tried_and_no_others() -> None:
    assert lines("p99 <= 5 ms", "p99 <= 9 ms @ batch-8") == []
    assert lines("p99 <= 5 ms", "p99 <= 4 ms", "throughput >= 300 /s", "throughput >= 200 /s") == [
        ("batch-1", (200, 300), 4)
    ]
    assert lines("p99 <= 5 ms", "p99 <= 9 ms @ batch-8", "throughput >= 20 /s @ batch-8") == [
        ("batch-8", (20,), 9)
    ]


def test_launches_fit_in_memory_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_load, "usable_memory_bytes", lambda: 8 * 10**9)
    assert affordable_launches(5, "onnxruntime", 10**6) == 5
    assert affordable_launches(5, "onnxruntime", 5 * 10**8) == 2
    assert affordable_launches(5, "onnxruntime", 10**10) == 1
    assert affordable_launches(5, "unheard-of", 0) == 5


@pytest.fixture
def _shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads of a moment, with too few requests to decide anything."""
    monkeypatch.setattr(pipeline_load, "SECONDS", 0.2)
    monkeypatch.setattr(pipeline_load, "CLOSED_SECONDS", 0.2)
    monkeypatch.setattr(pipeline_load, "MOST_SECONDS", 0.2)


@pytest.mark.usefixtures("_shortly")
def test_a_line_on_throughput_makes_optimize_measure_under_load(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = onnx_project(
        budget=["p99 <= 5 s", "throughput >= 100 /s"],
        measurement={"launches": 2, "most_launches": 2, "rounds": 2, "block_ms": 1},
        traffic={"predictions_per_day": 1000},
    )
    result = api.optimize(project, out=tmp_path / "reports")
    chosen = result.run.candidate(result.run.decision.chosen)
    for evidence in (chosen.selection, chosen.confirmation):
        (loaded,) = evidence.load
        assert [p.rate_per_s for p in loaded.points if p.loop == "open"] == [100]
        assert loaded.p99_budget_ms == 5000
        for point in loaded.points:
            assert (result.run_dir / point.samples.path).is_file()
    assert chosen.selection.load != chosen.confirmation.load, "it was measured again"
    verdicts = {v.line: v.outcome for v in result.run.decision.verdicts}
    assert verdicts["throughput >= 100 /s"] == "INCONCLUSIVE"
    assert "### Under load" in (result.run_dir / "adr.md").read_text("utf-8")

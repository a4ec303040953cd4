"""The report's section "Under load"."""

from __future__ import annotations

from pathlib import Path

from mlopt.report.load import load_section
from mlopt.types.estimate import Estimate
from mlopt.types.load import LoadPoint, LoadResult
from mlopt.types.run import Run
from mlopt.types.tensors import ArrayRef
from mlopt.types.workload import Workload

from .synthetic import Spec, around, simple_run

SPECS = (Spec("fp32", 0.842, role="baseline"), Spec("int8-static", 0.318, gained=12, lost=13))


def point(rate: float | None, *, sustained: bool | None, unserved: int = 0) -> LoadPoint:
    return LoadPoint(
        loop="closed" if rate is None else "open",
        callers=2,
        rate_per_s=rate,
        samples=ArrayRef(path="samples/a.npz", sha256="0", dtype="int64", shape=(9,)),
        seconds=10,
        launches=5,
        slices=60,
        requests=2000,
        unserved=unserved,
        throughput_per_s=around(rate or 2345, 0.02),
        p50_ms=None if unserved else around(1.2, 0.01),
        p99_ms=None if unserved else around(3.4, 0.05),
        sustained=sustained,
    )


def loaded_run(tmp_path: Path, batch_size: int = 1) -> Run:
    """The chosen one sustains 20 /s, and the baseline does not."""
    sizes = tuple(Workload(batch_size=n) for n in dict.fromkeys((1, batch_size)))
    run = simple_run(tmp_path, SPECS, winner="int8-static", workloads=sizes)

    def with_load(result, points, rate):
        load = LoadResult(
            workload=sizes[-1],
            threads=2,
            p99_budget_ms=5,
            points=points,
            sustained_per_s=rate,
            stopped_because="every rate that was asked for was tried",
        )
        parts = {
            name: None if part is None else part.model_copy(update={"load": (load,)})
            for name in ("selection", "confirmation")
            for part in [getattr(result, name)]
        }
        return result.model_copy(update=parts)

    base, winner = run.candidates
    good = (point(None, sustained=None), point(20, sustained=True))
    bad = (point(20, sustained=False, unserved=7),)
    return run.model_copy(
        update={
            "candidates": (
                with_load(base, bad, Estimate(value=20, high=20)),
                with_load(winner, good, Estimate(value=20, low=20)),
            )
        }
    )


def test_a_run_without_load_has_no_such_section(standard: tuple[Run, Path]) -> None:
    assert load_section(standard[0]) is None
    assert "Under load" not in standard[1].read_text("utf-8")


def test_every_rate_of_every_candidate_stands_in_the_table(tmp_path: Path) -> None:
    section = load_section(loaded_run(tmp_path))
    assert section is not None
    cells = [(row[0], row[1], row[2], row[3], row[-2], row[-1]) for row in section.table.rows]
    tail = "3.4 (3.2 to 3.6)"
    assert cells == [
        ("`fp32`", "selection", "20.0 /s", "2", "queue grew", "no"),
        ("`int8-static`", "selection", "closed loop", "2", tail, "-"),
        ("`int8-static`", "selection", "20.0 /s", "2", tail, "yes"),
        ("`int8-static`", "confirmation", "closed loop", "2", tail, "-"),
        ("`int8-static`", "confirmation", "20.0 /s", "2", tail, "yes"),
    ]
    assert "lies under 5 ms" in section.introduction
    assert max(map(len, str(section.table).splitlines())) <= 120


def test_the_replicas_are_those_of_the_mean_and_the_section_says_so(tmp_path: Path) -> None:
    section = load_section(loaded_run(tmp_path))
    assert section is not None
    # 1,000,000 a day are 11.6 a second; 20 less 30% are 14.
    assert "11.6 requests a second" in section.notes[-1]
    assert "1 replica would serve the mean" in section.notes[-1]
    assert "The mean is not the peak" in section.notes[-1]


def test_a_batch_is_one_request(tmp_path: Path) -> None:
    section = load_section(loaded_run(tmp_path, batch_size=8))
    assert section is not None
    assert "1.45 requests of 8 a second" in section.notes[-1]
    assert section.table.rows[0][2] == "20.0 /s, batch-8"


def test_without_a_traffic_figure_no_replicas_are_stated(tmp_path: Path) -> None:
    run = loaded_run(tmp_path)
    plan = run.plan.model_copy(update={"predictions_per_day": None})
    section = load_section(run.model_copy(update={"plan": plan}))
    assert section is not None
    assert not any("replica" in note for note in section.notes)

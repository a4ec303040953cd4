"""What a run says of candidates under load follows from the stored requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlopt.pipeline.integrity import references
from mlopt.pipeline.ledger import Ledger
from mlopt.pipeline.recompute import Evidenced
from mlopt.pipeline.reload import recompute_loads
from mlopt.profiling.load_summary import Frame, LoadSamples, load_point
from mlopt.profiling.sustained import sustained_of
from mlopt.store.rundir import RunDirectory
from mlopt.types.budget import BudgetLine
from mlopt.types.load import LoadResult
from mlopt.types.measurement import Evidence
from mlopt.types.run import Run
from mlopt.types.verification import Findings
from mlopt.types.workload import Workload

EXAMPLE = Path(__file__).parents[2] / "reports" / "example-breast_cancer_mlp"
BUDGET = ("p99 <= 20 ms", "throughput >= 50 /s")


@pytest.fixture
def loaded(tmp_path: Path) -> Run:
    """A run of which one candidate was put under load."""
    rng = np.random.default_rng(0)
    frame = Frame(lead_ns=0, slice_ns=10**8, slices=60)
    due = np.sort(rng.integers(0, frame.length_ns, 1500))
    latency = rng.gamma(5.0, 4e5, 1500).astype(np.int64)
    samples = LoadSamples(latency, due, np.repeat([0, 1], 750), frame)
    reference = samples.write(tmp_path, "samples/selection/02-distill-load.npz")
    point = load_point(
        samples, reference, loop="open", callers=1, rate_per_s=50.0, p99_budget_ms=20.0, seed=0
    )
    load = LoadResult(
        workload=Workload(),
        threads=2,
        p99_budget_ms=20.0,
        points=(point,),
        sustained_per_s=sustained_of([(50.0, point.sustained)]),
        stopped_because="every rate was tried",
    )
    run = RunDirectory(EXAMPLE).read_run()
    plan = run.plan.model_copy(update={"budget": tuple(map(BudgetLine.parse, BUDGET))})
    evidence = Evidence(
        measurements=(), quality=None, cold_start_ms=None, peak_rss_bytes=None, load=(load,)
    )
    first = run.candidates[2].model_copy(update={"selection": evidence, "confirmation": None})
    return run.model_copy(update={"plan": plan, "candidates": (run.baseline, first)})


def again(run: Run, run_dir: Path) -> Findings:
    document = run.model_dump(mode="json")
    ledger = Ledger("run.json", document, run.model_dump(mode="json"), 1e-12)
    recompute_loads(ledger, Evidenced(run, run_dir, frozenset()))
    return ledger.findings()


def changed(run: Run, **changes: object) -> Run:
    """The run with fields of its load, or with those of the load's point, changed."""
    first = run.candidates[1]
    assert first.selection is not None
    load = first.selection.load[0]
    point = load.points[0].model_copy(update=changes)
    own = {key: value for key, value in changes.items() if key in LoadResult.model_fields}
    load = load.model_copy(update={"points": (point,), **own})
    evidence = first.selection.model_copy(update={"load": (load,)})
    first = first.model_copy(update={"selection": evidence})
    return run.model_copy(update={"candidates": (run.candidates[0], first)})


def test_a_load_that_nobody_touched_agrees(loaded: Run, tmp_path: Path) -> None:
    found = again(loaded, tmp_path)
    assert found.mismatches == ()
    assert found.checked.numbers > 10
    assert "samples/selection/02-distill-load.npz" in [r.path for _, _, r in references(loaded)]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"requests": 3}, "points/0/requests"),
        ({"sustained": False}, "points/0/sustained"),
        ({"throughput_per_s": None}, "points/0/throughput_per_s"),
        ({"sustained_per_s": None}, "sustained_per_s"),
        ({"p99_budget_ms": 30.0}, "p99_budget_ms"),
        ({"threads": 7}, "threads"),
    ],
)
def test_what_was_changed_of_a_load_is_named(
    loaded: Run, tmp_path: Path, change: dict[str, object], place: str
) -> None:
    found = again(changed(loaded, **change), tmp_path)
    assert f"/candidates/1/selection/load/0/{place}" in [one.place for one in found.mismatches]

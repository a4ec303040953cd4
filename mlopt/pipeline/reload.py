"""What a stored run says of candidates under load again, from the stored requests."""

from __future__ import annotations

from typing import Any

from mlopt.pipeline.integrity import UNREADABLE
from mlopt.pipeline.ledger import Ledger, Place
from mlopt.pipeline.load import load_lines
from mlopt.pipeline.recompute import NOT_ITS_SAMPLES, ONCE, PHASES, Evidenced
from mlopt.profiling.load_summary import LoadSamples, load_point
from mlopt.profiling.sustained import sustained_of
from mlopt.types.load import LoadPoint, LoadResult

_RECORDED = {"loop", "callers", "rate_per_s", "samples"}
"""How a load was applied: its samples do not say that again."""


def recompute_loads(ledger: Ledger, given: Evidenced) -> None:
    """Every throughput, tail and sustained rate, of every kind of evidence."""
    plan = given.run.plan
    lines = {line.workload: line for line in load_lines(plan.budget, plan.workloads)}
    for i, candidate in enumerate(given.run.candidates):
        for phase in PHASES:
            evidence = getattr(candidate, phase)
            if evidence is not None and not lines:
                ledger.expect(("candidates", i, phase, "load"), [])
                continue
            for j, load in enumerate(evidence.load if evidence is not None else ()):
                place: Place = ("candidates", i, phase, "load", j)
                line = lines.get(load.workload)
                if line is None:
                    ledger.contradict(place, "a load", "no line of the budget asks for one")
                    continue
                seed = plan.seed + (1 if phase == "confirmation" else 0)
                budget_ms = line.p99_budget_ms
                settings = candidate.plan.settings
                _result(ledger, place, given, load)
                ledger.expect((*place, "p99_budget_ms"), budget_ms)
                ledger.expect((*place, "seed"), seed)
                threads = settings.get("intra_op_threads", settings.get("threads"))
                ledger.expect((*place, "threads"), threads)


def _result(ledger: Ledger, place: Place, given: Evidenced, load: LoadResult) -> None:
    for field in ("stopped_because", "resolution"):
        ledger.give_up((*place, field), ONCE)
    ledger.expect((*place, "workload"), load.workload.model_dump(mode="json"))
    again = [
        _point(ledger, (*place, "points", k), given, point, load)
        for k, point in enumerate(load.points)
    ]
    tried = [(p.rate_per_s, p.sustained) for p in again if p.rate_per_s is not None]
    sustained = sustained_of(tried)
    value: Any = None if sustained is None else sustained.model_dump(mode="json")
    ledger.expect((*place, "sustained_per_s"), value)


def _point(
    ledger: Ledger, place: Place, given: Evidenced, point: LoadPoint, load: LoadResult
) -> LoadPoint:
    """The point as it should be; as it is stored where its requests cannot be read."""
    if not given.usable(point.samples):
        ledger.give_up(place, NOT_ITS_SAMPLES)
        return point
    try:
        again = load_point(
            LoadSamples.read(given.run_dir, point.samples),
            point.samples,
            loop=point.loop,
            callers=point.callers,
            rate_per_s=point.rate_per_s,
            p99_budget_ms=None if point.rate_per_s is None else load.p99_budget_ms,
            seed=load.seed,
        )
    except UNREADABLE as e:
        says = f"{point.samples.path}: {e}"
        ledger.contradict((*place, "samples"), says, "requests that can be summarized")
        return point
    for field in ("loop", "callers", "rate_per_s"):
        ledger.give_up((*place, field), ONCE)
    ledger.expect((*place, "samples"), ledger.at((*place, "samples")))
    for field, value in again.model_dump(mode="json", exclude=_RECORDED).items():
        ledger.expect((*place, field), value)
    return again

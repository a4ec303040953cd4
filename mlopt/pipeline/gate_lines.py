"""From what a gate has seen to the lines of its contract; nothing is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlopt.decision import judge
from mlopt.pipeline.contest import Contest
from mlopt.profiling.looks import LOOKS
from mlopt.project import MetricSpec
from mlopt.types.budget import BudgetLine
from mlopt.types.decision import Outcome, Verdict
from mlopt.types.estimate import Estimate
from mlopt.types.gate import RATIO, GateLine
from mlopt.types.measurement import Evidence, Quality

MORE_TIME = "more time (--max-seconds)"
NOT_LOADED = "mending what fails: nothing is put under load by a gate that fails anyway"
DIED_UNDER_LOAD = "mending what ended the load"


def remedies(seen: Contest, rounds: int) -> str:
    """What would settle a gate; more time is none where it took all that was planned.

    Before the first planned look nothing is judged, however far the ratio is from the limit.

    Args:
        seen: The gate.
        rounds: Of each launch, by the project.
    """
    if seen.looks == 0:
        done = f"{seen.launches} {'launch' if seen.launches == 1 else 'launches'}"
        return f"{MORE_TIME}: it ended after {done}, before the first planned look at {LOOKS[0]}"
    complete = seen.launches >= LOOKS[-1] and seen.rounds >= LOOKS[-1] * rounds
    first = "more rounds (`measurement.rounds`)" if complete else MORE_TIME
    return f"{first}, a wider --tolerance, or a quieter machine"


def regression_line(
    ratio: Estimate, outcome: Outcome, tolerance: float, against: str, settles: str
) -> GateLine:
    """The line that what ships is not slower than the reference.

    Args:
        ratio: Of the p50, what ships over the reference.
        outcome: That the planned looks came to.
        tolerance: How much slower it may be, as a share.
        against: Name of the reference.
        settles: What would settle it, where it is not; see :func:`remedies`.
    """
    return GateLine(
        subject="regression",
        against=f"against {against}",
        verdict=Verdict(
            line=f"p50 at most {percent(tolerance)} slower",
            outcome=outcome,
            observed=ratio,
            unit=RATIO,
            settles=settles if outcome == "INCONCLUSIVE" else None,
        ),
    )


def budget_lines(
    budget: Sequence[BudgetLine], evidence: Evidence, size_bytes: int, not_loaded: str | None = None
) -> list[GateLine]:
    """Every line of the budget, on the evidence of this measurement.

    Args:
        budget: The lines.
        evidence: Of what ships.
        size_bytes: Of its files.
        not_loaded: What would settle its throughput, where it was not put under load though a line
            asks for that.
    """
    timings = evidence.model_copy(update={"quality": None})
    verdicts = judge(budget, timings, size_bytes)
    if not_loaded is not None:
        verdicts = tuple(
            verdict.model_copy(update={"settles": not_loaded}) if line.is_throughput else verdict
            for line, verdict in zip(budget, verdicts, strict=True)
        )
    return [GateLine(subject="budget", verdict=one) for one in verdicts]


def accuracy_lines(qualities: Mapping[str, Quality], names: Mapping[str, str]) -> list[GateLine]:
    """Every margin, over each model that answers were compared with.

    Args:
        qualities: Of what ships, by the role of what its answers were compared with.
        names: Of the models, by role.
    """
    found = []
    for role, quality in qualities.items():
        nothing = Evidence(
            measurements=(), quality=quality, cold_start_ms=None, peak_rss_bytes=None
        )
        against = f"against the {role} {names[role]}"
        found += [
            GateLine(subject="accuracy", against=against, verdict=one)
            for one in judge((), nothing, None)
        ]
    return found


def placement_line(provider: str, elsewhere: str) -> GateLine:
    """The failing line of a model that a provider did not take as a whole.

    Args:
        provider: Where it was to run.
        elsewhere: How much of it ran elsewhere, in words.
    """
    return GateLine(
        subject="placement",
        verdict=Verdict(
            line=f"every node runs on {provider}: {elsewhere}",
            outcome="FAIL",
            observed=None,
            unit=RATIO,
        ),
    )


def runs_line(cause: str) -> GateLine:
    """The failing line of a model that cannot be loaded, dies, or answers what is no number.

    Args:
        cause: What happened.
    """
    verdict = Verdict(line="it runs", outcome="FAIL", observed=None, unit=RATIO)
    return GateLine(subject="runs", verdict=verdict, cause=cause)


def own_warnings(
    seen: Contest, tolerance: float, metrics: Sequence[MetricSpec], settles: str
) -> list[str]:
    """What a reader should know of a gate that the verdict does not say.

    Args:
        seen: The deciding workload.
        tolerance: How much slower what ships may be, as a share.
        metrics: Of the project.
        settles: What would have narrowed the interval; see :func:`remedies`.
    """
    found = []
    width = half_width(seen.p50_ratio)
    if seen.outcome == "INCONCLUSIVE" and (width is None or width >= tolerance):
        known = "is not known" if width is None else f"reaches {percent(width)} to either side"
        found.append(
            f"the interval of the p50 ratio {known}: this gate could not have passed an unchanged "
            f"model at a tolerance of {percent(tolerance)}. It needs {settles}"
        )
    if all(one.max_drop is None and one.max_drop_relative is None for one in metrics):
        found.append(
            "no metric has a 'max_drop' in mlopt.yaml, so answers are not gated: a model that became "
            "faster by becoming wrong would pass"
        )
    return found


def contest_warnings(seen: Contest, names: tuple[str, str], where: str = "") -> list[str]:
    """What a reader should know of one trial.

    Args:
        seen: The trial.
        names: Of the two that were timed: what ratios are over, and what ships.
        where: Which trial it was, where there were several: `` at batch-8``.
    """
    sides = {"A": names[0], "B": names[1], "A and B": " and ".join(names)}
    found = []
    for one in seen.warnings:
        side, _, words = one.partition(": ")
        found.append(f"{sides[side]}{where}: {words}")
    return found


def half_width(ratio: Estimate) -> float | None:
    """Half the length of an interval, relative to the value; None where there is none."""
    if ratio.low is None or ratio.high is None:
        return None
    return (ratio.high - ratio.low) / 2 / ratio.value


def percent(share: float) -> str:
    """``2%``, ``0.5%``."""
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.2g}%"

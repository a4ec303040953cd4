"""Two models timed against each other, side by side: what ``compare`` and ``gate`` stand on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from mlopt.errors import ModelError
from mlopt.profiling.launch import Contestant, Observed, Setting
from mlopt.profiling.looks import LEAST_ROUNDS, LOOKS, ByLooks
from mlopt.profiling.stopping import ByPrecision, Referee, Ruling, Seen, confidence_of
from mlopt.profiling.summary import summarize
from mlopt.profiling.trial import TrialEnd, run_trial
from mlopt.types.candidate import Stage
from mlopt.types.decision import Outcome
from mlopt.types.estimate import Estimate
from mlopt.types.events import Event, OnEvent
from mlopt.types.measurement import Diagnostic, Evidence
from mlopt.types.plan import Schedule
from mlopt.types.workload import Workload
from mlopt.workers import Limits

NAMES = ("a", "b")


class Side(NamedTuple):
    """One of the two."""

    name: str
    stage: Stage
    size_bytes: int


class Contest(NamedTuple):
    """What was seen of two models in one trial.

    Attributes:
        p50_ratio: B over A, paired in each round. Of a gate, the interval is that of its last look,
            which is wider than 95% for having been allowed to look before.
        confidence: Of the interval of ``p50_ratio``: 95%, or what the look of a gate has.
        p99_ratio: B over A, pooled; None where there are not enough samples.
        samples: Of both together.
        outcome: Of a gate; None for a comparison.
        looks: How often a gate looked.
    """

    a: Evidence
    b: Evidence
    p50_ratio: Estimate
    confidence: float
    p99_ratio: Estimate | None
    launches: int
    rounds: int
    samples: int
    stopped_because: str
    warnings: tuple[str, ...]
    outcome: Outcome | None
    looks: int


class Terms(NamedTuple):
    """How two models are timed.

    Attributes:
        snapshot: Directory of the examples that inputs are drawn from.
        schedule: For a comparison; a gate takes its rounds and blocks, and plans its own launches.
        max_seconds: Wall-clock limit.
        tolerance: How much slower B may be, as a share of A's p50; None: no gate, and the trial
            ends by precision.
        open_together: Start both at once, where nobody asks for cold starts.
    """

    snapshot: Path
    project_dir: Path
    workload: Workload
    schedule: Schedule
    seed: int
    limits: Limits
    max_seconds: float
    tolerance: float | None = None
    open_together: bool = True


def contest(a: Side, b: Side, terms: Terms, work: Path, on_event: OnEvent) -> Contest:
    """Times A and B in interleaved rounds.

    Args:
        a: What ratios are over: the reference of a gate.
        b: The one in question.
        terms: How.
        work: Directory for the samples.
        on_event: Called with what is going on.

    Raises:
        ModelError: One of them failed, or not one round was done in the time.
    """
    looks = None
    if terms.tolerance is not None:
        looks = ByLooks(*NAMES, terms.tolerance, terms.seed, terms.max_seconds)
    schedule = terms.schedule
    if looks is not None:
        schedule = schedule.model_copy(update={"launches": LOOKS[-1], "most_launches": LOOKS[-1]})
    precision = ByPrecision(schedule, terms.workload.batch_size, NAMES[0], terms.seed)
    end = run_trial(
        [Contestant(name, side.stage) for name, side in zip(NAMES, (a, b), strict=True)],
        _setting(terms, schedule),
        lambda message, done, left: on_event(
            Event(phase="time", message=message, done=done, left_s=left)
        ),
        referee=looks or _Both(precision),
    )
    _refuse_failures({"a": a, "b": b}, end.observed, terms)
    return _contest(end, terms, looks, work)


class _Both(NamedTuple):
    """Ends a comparison of which one side is left: there is nothing to compare."""

    referee: Referee

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        """Asks the other referee while there are two."""
        if len(seen) < len(NAMES):
            return Ruling("one of the two fell out")
        return self.referee.after_launch(seen, launches)


def _setting(terms: Terms, schedule: Schedule) -> Setting:
    return Setting(
        schedule=schedule,
        batch_sizes=[terms.workload.batch_size],
        snapshot=terms.snapshot,
        project_dir=terms.project_dir,
        limits=terms.limits,
        seed=terms.seed,
        deadline=time.monotonic() + terms.max_seconds,
        least_rounds=1 if terms.tolerance is None else LEAST_ROUNDS,
        open_together=terms.open_together,
    )


def _contest(end: TrialEnd, terms: Terms, looks: ByLooks | None, work: Path) -> Contest:
    a, b = (
        summarize(
            end.observed[name],
            end.observed[NAMES[0]],
            (terms.workload,),
            trial="contest",
            stopped_because=end.stopped_because,
            run_dir=work,
            file_stem=name,
            seed=terms.seed,
            confidence=0.95 if looks else confidence_of(terms.schedule),
        )
        for name in NAMES
    )
    measured = b.measurements[0]
    assert measured.p50_ratio is not None, "both have the same rounds"
    ratio, outcome = measured.p50_ratio, None
    if looks is not None:
        ratio, outcome = looks.ruling or (ratio, "INCONCLUSIVE")
    return Contest(
        a=a,
        b=b,
        p50_ratio=ratio,
        confidence=0.95 if looks is None else looks.confidence,
        p99_ratio=measured.p99_ratio,
        launches=end.launches,
        rounds=end.rounds,
        samples=sum(one.measurements[0].count for one in (a, b)),
        stopped_because=end.stopped_because,
        warnings=_warnings(a, b),
        outcome=outcome,
        looks=0 if looks is None else looks.taken,
    )


def _warnings(a: Evidence, b: Evidence) -> tuple[str, ...]:
    """What was amiss, each thing once, after the names of those that it disturbed."""
    amiss: dict[str, dict[str, Diagnostic]] = {}
    for name, one in zip(NAMES, (a, b), strict=True):
        for found in one.measurements[0].diagnostics:
            if found.status == "warning":
                amiss.setdefault(found.name, {})[name.upper()] = found
    lines = []
    for name, sides in amiss.items():
        seen = "; ".join(dict.fromkeys(one.seen for one in sides.values()))
        advice = "".join(dict.fromkeys(f"; {one.advice}" for one in sides.values() if one.advice))
        lines.append(f"{' and '.join(sides)}: {name}: {seen}{advice}")
    return tuple(lines)


def _refuse_failures(sides: dict[str, Side], observed: dict[str, Observed], terms: Terms) -> None:
    for name, side in sides.items():
        seen = observed[name]
        if seen.failure is not None:
            raise ModelError(f"'{side.name}' could not be timed: {seen.failure.cause}")
        if not seen.samples.get(terms.workload.batch_size):
            raise ModelError(
                f"'{side.name}' was not timed once in {terms.max_seconds:g} s: allow more with "
                "--max-seconds."
            )

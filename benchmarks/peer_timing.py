"""The two times that the members of a comparison are timed: a first look, and the final run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from peer_case import EAGER, LIMITS, MLOPT, SEED, Case

from mlopt import stats
from mlopt.errors import ModelError
from mlopt.profiling.launch import Contestant, Observed, Setting
from mlopt.profiling.stopping import ByPrecision, Referee, confidence_of
from mlopt.profiling.trial import run_trial
from mlopt.types.candidate import Stage
from mlopt.types.estimate import Estimate
from mlopt.types.plan import Schedule

BATCH_SIZE = 1
FIRST_LOOK = Schedule(launches=1, rounds=14, min_block=3, max_block=50)
FIRST_LOOK_S = 120.0
"""Of one heat; it usually ends far sooner."""

FINAL = Schedule(launches=5, most_launches=8, rounds=36, min_block=3, max_block=100)

HEAT = 6
"""Members of a first look that are in memory at once, beside eager PyTorch."""


class Look(NamedTuple):
    """What a first look has seen.

    Attributes:
        ms: The p50 of every member that runs: its ratio to eager PyTorch's in the same heat, times
            eager PyTorch's in the first one.
        failed: Why the others do not.
    """

    ms: dict[str, float]
    failed: dict[str, str]


class Timed(NamedTuple):
    """A member of the final run.

    Attributes:
        ratio: mlopt's choice over this member, paired in each round.
    """

    p50_ms: Estimate
    ratio: Estimate


class Final(NamedTuple):
    """The run that the table is made of.

    Attributes:
        failed: Why a member could not be timed.
        launches: How many there were.
        rounds: Over all launches.
    """

    timed: dict[str, Timed]
    failed: dict[str, str]
    launches: int
    rounds: int


def first_look(case: Case, stages: Mapping[str, Stage]) -> Look:
    """Times every member once, in heats that each have eager PyTorch in them."""
    rest = [name for name in stages if name != EAGER]
    look = Look({}, {})
    for start in range(0, len(rest), HEAT):
        heat = {name: stages[name] for name in (EAGER, *rest[start : start + HEAT])}
        observed, _ = _time(case, heat, FIRST_LOOK, FIRST_LOOK_S)
        look.failed.update(_failures(observed))
        if EAGER in look.failed:
            raise ModelError(f"eager PyTorch fails: {look.failed[EAGER]}")
        base = _p50_ms(observed[EAGER])
        scale = look.ms.setdefault(EAGER, base) / base
        look.ms.update(
            {
                name: _p50_ms(one) * scale
                for name, one in observed.items()
                if name != EAGER and one.failure is None and one.samples
            }
        )
    return look


def final_run(case: Case, stages: Mapping[str, Stage], seconds: float) -> Final:
    """Times mlopt's choice beside the others, in several launches of interleaved rounds.

    Args:
        case: The model.
        stages: The members, mlopt's choice among them.
        seconds: Wall-clock limit; rounds give way first, then launches beyond the least number.
    """
    referee = ByPrecision(FINAL, BATCH_SIZE, MLOPT, SEED)
    observed, (launches, rounds) = _time(case, stages, FINAL, seconds, referee)
    failed = _failures(observed)
    if not observed[MLOPT].samples or MLOPT in failed:
        raise ModelError(f"mlopt's choice was not timed: {failed.get(MLOPT)}")
    confidence = confidence_of(FINAL)
    ours = observed[MLOPT].samples[BATCH_SIZE].block_medians()
    timed = {}
    for name, one in observed.items():
        if name in failed or not one.samples:
            continue
        samples = one.samples[BATCH_SIZE]
        timed[name] = Timed(
            stats.quantile(samples.rounds(), 0.5, seed=SEED, confidence=confidence),
            stats.paired_p50_ratio(ours, samples.block_medians(), seed=SEED, confidence=confidence),
        )
    return Final(timed, failed, launches, rounds)


def _time(
    case: Case,
    stages: Mapping[str, Stage],
    schedule: Schedule,
    seconds: float,
    referee: Referee | None = None,
) -> tuple[dict[str, Observed], tuple[int, int]]:
    """Interleaved rounds of all members; and how many launches and rounds there were."""
    setting = Setting(
        schedule=schedule,
        batch_sizes=[BATCH_SIZE],
        snapshot=case.prepared.snapshots["holdout"],
        project_dir=case.directory,
        limits=LIMITS,
        seed=SEED,
        deadline=time.monotonic() + seconds,
        open_together=True,
    )
    contestants = [Contestant(name, stage) for name, stage in stages.items()]
    end = run_trial(contestants, setting, lambda *words: None, referee=referee)
    print(f"timed {', '.join(stages)}: {end.stopped_because}", flush=True)
    return end.observed, (end.launches, end.rounds)


def _failures(observed: Mapping[str, Observed]) -> dict[str, str]:
    return {
        name: f"timing: {one.failure.cause}"
        for name, one in observed.items()
        if one.failure is not None
    }


def _p50_ms(observed: Observed) -> float:
    return stats.quantile(observed.samples[BATCH_SIZE].rounds(), 0.5, seed=SEED).value

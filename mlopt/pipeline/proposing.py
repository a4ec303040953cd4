"""Who proposes candidates: the plan's own, and then what its refinement names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from mlopt.decision import fastest
from mlopt.decision.constraints import violations
from mlopt.decision.noninferiority import keeps_quality, loses_too_much
from mlopt.machine import usable_cpus
from mlopt.passes import PASSES
from mlopt.pipeline.reference import RUNNER_OF
from mlopt.pipeline.space import Maker
from mlopt.providers import ORT
from mlopt.runners import RUNNERS
from mlopt.search import Chain, FixedList, Proposer, Stage, TuningRace
from mlopt.search.mixed_precision import MixedPrecision, Rank, kept_in_float, quantizer_of
from mlopt.search.optuna_search import OptunaSearch, search_of
from mlopt.search.tuning import p50_ratio
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.plan import Plan, SearchPlan
from mlopt.types.run import CandidateResult, Run
from mlopt.types.search import SearchSummary

TUNING_S = 20.0
"""Most seconds that each batch of the race of settings is timed for, once it has loaded."""

WORTH_A_WALK = 0.95
"""Over the p50 of the fastest that may ship: each layer in float costs time, and what is ahead by less
is behind at the end."""

EVERYWHERE = frozenset({"intra_op_threads", "static_shapes"})
"""Settings that every provider heeds; the others are those of ONNX Runtime's own kernels."""


class Findings(NamedTuple):
    """What proposers have to say when all is seen.

    Attributes:
        notes: For the user.
        searches: How much of each space was seen.
    """

    notes: tuple[str, ...] = ()
    searches: tuple[SearchSummary, ...] = ()


def proposer_of(plan: Plan, maker: Maker, rank: Rank) -> Proposer:
    """The proposer that a plan describes; the same plan and results always make the same one.

    Args:
        plan: Names the first candidates, and what is proposed after them.
        maker: Makes candidates of recipes.
        rank: Ranks the layers of a candidate of the run, by its name.

    Raises:
        UnavailableError: A recipe is to be searched, and optuna is not installed.
    """
    first = FixedList(plan.candidates)
    if plan.refinement.is_empty:
        return first
    searches = [_searching(plan, one, maker) for one in plan.refinement.searches]
    return Chain(first, [*searches, partial(_walk, rank), _tuning])


def findings_of(proposer: Proposer, run: Run) -> Findings:
    """What the proposers of a run found out beside its candidates."""
    members = proposer.members if isinstance(proposer, Chain) else ()
    notes = [note for one in members if isinstance(one, MixedPrecision) for note in one.notes]
    searches = [one.summary(run) for one in members if isinstance(one, OptunaSearch)]
    return Findings(tuple(notes), tuple(searches))


def _searching(plan: Plan, search: SearchPlan, maker: Maker) -> Stage:
    """A stage that explores the choices of one recipe."""

    def constraints(result: CandidateResult) -> Sequence[float]:
        return violations(result, plan.budget, plan.allow_fallback)

    # Made at once: what is missing is said before anything is measured.
    proposer = search_of(
        search, maker.brought.format, maker.chosen, seed=plan.seed, constraints=constraints
    )
    return lambda run: proposer


def _walk(rank: Rank, run: Run) -> Proposer | None:
    """Mixed precision, from the fastest candidate that only its loss keeps from being chosen.

    There is none where what may ship is about as fast.
    """
    may_ship = fastest(run)
    to_beat = p50_ratio(run, may_ship[0].name) if may_ship else None
    starts = [
        (ratio, one.plan)
        for one in run.candidates
        if one.plan.recipe in run.plan.refinement.mixed_precision
        and quantizer_of(one.plan.steps) is not None
        and not kept_in_float(one.plan)
        and loses_too_much(one)
        and (run.plan.allow_fallback or not one.fell_back)
        and (ratio := p50_ratio(run, one.name)) is not None
        and (to_beat is None or ratio < WORTH_A_WALK * to_beat)
    ]
    if not starts:
        return None
    _, start = min(starts, key=lambda one: one[0])
    return MixedPrecision(start, rank, keeps_quality)


def _tuning(run: Run) -> Proposer | None:
    """A race of settings between the fastest candidates so far."""
    refinement = run.plan.refinement
    origins = [
        one.plan
        for one in fastest(run)
        if one.plan.runner != RUNNER_OF["torch"] and not _is_tuned(one.plan, run.plan)
    ]
    origins = origins[: refinement.tuned]
    if not refinement.tune or not origins:
        return None
    return TuningRace(origins, refinement.tune, with_setting, TUNING_S)


def _is_tuned(candidate: PlannedCandidate, plan: Plan) -> bool:
    """Whether it came of an earlier race of settings: a run that goes on begins its race anew."""
    refinement = plan.refinement
    elsewhere = candidate in plan.candidates or candidate.recipe in {
        search.recipe for search in refinement.searches
    }
    return not elsewhere and bool(candidate.choices.keys() & refinement.tune.keys())


def with_setting(candidate: PlannedCandidate, name: str, value: Any) -> PlannedCandidate | None:
    """A candidate with one setting changed; None where that makes no difference here.

    Args:
        candidate: As it is.
        name: Of a session setting, or of an option of the last of its passes that has it.
        value: Another value.
    """
    if name in RUNNERS[ORT].model_fields:
        return _with_session(candidate, name, value)
    for i, step in reversed(list(enumerate(candidate.steps))):
        field = PASSES[step.transformation].model_fields.get(name)
        if field is not None:
            if step.options.get(name, field.default) == value:
                return None
            other = step.model_copy(update={"options": {**step.options, name: value}})
            steps = (*candidate.steps[:i], other, *candidate.steps[i + 1 :])
            chosen = candidate.with_choices({**candidate.choices, name: value})
            return chosen.model_copy(update={"steps": steps})
    return None


def _with_session(candidate: PlannedCandidate, name: str, value: Any) -> PlannedCandidate | None:
    if name == "intra_op_threads" and isinstance(value, int) and value > usable_cpus():
        return None
    if candidate.provider != "cpu" and name not in EVERYWHERE:
        return None
    kind = RUNNERS[candidate.runner]
    changed = kind.model_validate({**candidate.settings, name: value})
    settings = changed.resolve(usable_cpus()).model_dump(mode="json")
    if settings == candidate.settings:
        return None
    chosen = candidate.with_choices({**candidate.choices, name: value})
    return chosen.model_copy(update={"settings": settings})

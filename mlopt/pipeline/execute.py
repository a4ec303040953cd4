"""One run, from a plan to a decision."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import NamedTuple

from mlopt.decision import Ratio, choose, contenders, fastest
from mlopt.errors import MloptError, WorkerError
from mlopt.pipeline.builder import Builder, Built, Turn
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.diagnose import Examples, diagnose_candidate
from mlopt.pipeline.limits import at_a_time
from mlopt.pipeline.load import Place, load_candidates
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.proposing import findings_of
from mlopt.pipeline.quality import Scorer, failure_of
from mlopt.pipeline.ratios import p50_ratio_between
from mlopt.pipeline.recorder import Recorder, utc_now
from mlopt.pipeline.seal import artifact_sha256
from mlopt.pipeline.timing import Timer
from mlopt.pipeline.verdict import confirmed, none_may_ship, session_settings, without_baseline
from mlopt.search import Batch, Proposer
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.decision import Decision
from mlopt.types.measurement import Evidence, Quality
from mlopt.types.privacy import without_paths
from mlopt.types.run import Run
from mlopt.workers import Limits, OnEvent, side_by_side

RUN_OFF_S = 60.0
"""Most seconds that the run-off takes, beside what loading takes."""

RIVALS = 3
"""How many of the fastest so far go on when further candidates join the trial."""


class Tools(NamedTuple):
    """What a run works with."""

    prepared: Prepared
    recorder: Recorder
    builder: Builder
    scorer: Scorer
    timer: Timer
    proposer: Proposer
    limits: Limits
    deadline: Deadline


def execute(tools: Tools) -> Run:
    """Proposes, builds, scores, times, decides and confirms; every step is on disk at once.

    Ctrl-C ends it early: the run then holds what there is, and is marked.
    """
    recorder = tools.recorder
    try:
        artifacts: dict[str, Artifact] = {}
        qualities = _known(recorder.run)
        while (batch := tools.proposer.ask()) is not None:
            if artifacts and tools.deadline.passed(tools.deadline.building):
                recorder.warn("build", f"the time limit came before {batch.because}")
                break
            recorder.add(batch.candidates)
            artifacts |= _build(tools, batch.candidates)
            _measure(tools, artifacts, batch, qualities)
            tools.proposer.tell(recorder.run)
        tools.timer.close()
        _conclude(tools)
        load_candidates(_place(tools), artifacts, "selection")
        _run_off(tools, artifacts)
        recorder.set(decision=_decide(tools, artifacts))
        broken = recorder.run.baseline.failure is not None
        recorder.set(status="failed" if broken else "complete", finished_at=utc_now())
    except KeyboardInterrupt:
        recorder.set(
            status="interrupted",
            partial="interrupted before all was measured",
            finished_at=utc_now(),
        )
    except Exception as e:
        reason = f"ended by an internal error: {without_paths(str(e))}"
        recorder.set(status="failed", partial=reason, finished_at=utc_now())
        raise
    return recorder.run


def _known(run: Run) -> dict[str, Quality]:
    """What a run that goes on knows of its candidates' answers."""
    return {
        c.name: c.selection.quality
        for c in run.candidates
        if c.selection is not None and c.selection.quality is not None
    }


def _build(tools: Tools, batch: Sequence[PlannedCandidate]) -> dict[str, Artifact]:
    """Builds candidates; the baseline first, since nothing can be said without it."""
    recorder = tools.recorder
    width = at_a_time(tools.prepared.source.manifest.size_bytes)
    built: dict[str, Artifact] = {}
    order = sorted(batch, key=lambda c: c.role != "baseline")
    turns = tools.builder.turns([c.steps for c in order])
    first = sum(c.role == "baseline" for c in order)
    with recorder.timing("build"):
        for candidate in order:
            recorder.directory.append_candidate(candidate)
        for part in (slice(0, first), slice(first, len(order))):
            start, end = part.start / len(order), part.stop / len(order)
            tasks = [
                partial(_build_one, tools, candidate, turn)
                for candidate, turn in zip(order[part], turns[part], strict=True)
            ]
            results = side_by_side(tasks, recorder.teller("build", None, start, end), width)
            with closing(results):
                for candidate, result in zip(order[part], results, strict=True):
                    built |= _note_build(recorder, candidate, result)
    return {c.name: built[c.name] for c in batch if c.name in built}


def _build_one(
    tools: Tools, candidate: PlannedCandidate, turn: Turn, on_event: OnEvent
) -> Built | None:
    """In a thread of its own; None where the time for building is over, or ended it."""
    deadline = tools.deadline
    if deadline.passed(deadline.building):
        turn.end(*turn.own)
        return None
    on_event(candidate.name, None)
    try:
        return tools.builder.build(
            candidate.steps,
            lambda: deadline.limits(tools.limits, deadline.building),
            lambda message, done: on_event(f"{candidate.name}: {message}", done),
            turn,
        )
    except WorkerError:
        # A pass that refuses its model has failed, however late; its worker may have been cut off.
        if deadline.passed(deadline.building):
            return None
        raise


def _note_build(
    recorder: Recorder, candidate: PlannedCandidate, result: Built | MloptError | None
) -> dict[str, Artifact]:
    """Notes how it ended; the artifact by the candidate's name, where there is one."""
    if isinstance(result, MloptError):
        recorder.fail(candidate.name, failure_of("build", result))
        return {}
    if result is None:
        _skip(recorder, candidate)
        return {}
    manifest = result.artifact.manifest
    before = recorder.run.candidate(candidate.name)
    recorder.update(
        candidate.name,
        status="built" if before.selection is None else before.status,
        artifact_sha256=artifact_sha256(manifest),
        size_bytes=manifest.size_bytes,
        lineage=manifest.lineage,
        cached_steps=result.cached_steps,
        settings=candidate.settings,
    )
    return {candidate.name: result.artifact}


def _skip(recorder: Recorder, candidate: PlannedCandidate) -> None:
    recorder.update(candidate.name, status="skipped")
    recorder.cut_short("the time limit ended building before every candidate was built")


def _measure(
    tools: Tools, artifacts: dict[str, Artifact], batch: Batch, seen: dict[str, Quality]
) -> None:
    """Scores what was built on the selection split, and times what is asked for."""
    recorder = tools.recorder
    baseline = recorder.run.baseline.name
    if baseline not in artifacts or recorder.run.baseline.failure is not None:
        return
    new = [c.name for c in batch.candidates if c.name in artifacts and c.name not in seen]
    if new:
        with recorder.timing("score"):
            seen |= tools.scorer.score(
                {n: artifacts[n] for n in dict.fromkeys((baseline, *new))}, "selection", "score"
            )
    if baseline not in seen:
        return
    if not batch.timed:
        for name in set(new) & seen.keys():
            evidence = Evidence(
                measurements=(), quality=seen[name], cold_start_ms=None, peak_rss_bytes=None
            )
            recorder.update(name, selection=evidence, status="measured")
        return
    untimed = [
        c.name for c in batch.candidates if c.name in seen and _may_be_timed(recorder, c.name)
    ]
    if not untimed:
        return
    rivals = _rivals(recorder.run, artifacts)
    with recorder.timing("time"):
        tools.timer.time(
            {n: artifacts[n] for n in dict.fromkeys((baseline, *rivals, *untimed))},
            seen,
            "selection",
            rivals=rivals,
            seconds=batch.seconds,
        )
    if not recorder.run.baseline.is_timed and recorder.run.baseline.failure is None:
        recorder.cut_short(
            "the time for measuring ended before the first launch did: raise --time-limit, try "
            "fewer recipes at once, or raise measurement.max_seconds"
        )


def _conclude(tools: Tools) -> None:
    """Notes what the proposers found out beside their candidates."""
    found = findings_of(tools.proposer, tools.recorder.run)
    for note in found.notes:
        tools.recorder.warn("build", note)
    tools.recorder.set(search=found.searches)


def _may_be_timed(recorder: Recorder, name: str) -> bool:
    result = recorder.run.candidate(name)
    return result.failure is None and not result.is_timed


def _rivals(run: Run, built: Container[str]) -> list[str]:
    """The fastest that may ship so far: whoever is proposed later is timed beside them.

    A run that goes on knows some that it has not come to again: those are not built yet.
    """
    return [one.name for one in fastest(run) if one.name in built][:RIVALS]


def _run_off(tools: Tools, artifacts: dict[str, Artifact]) -> None:
    """Times those of whom it is open who is the fastest once more, where the plan refines."""
    recorder, deadline = tools.recorder, tools.deadline
    run, plan = recorder.run, recorder.run.plan
    if plan.refinement.is_empty or not run.baseline.is_timed or run.baseline.failure is not None:
        return
    held = any(one.run_off is not None for one in run.candidates)  # a run that goes on
    names: tuple[str, ...] = ()
    if not held and not deadline.passed(deadline.moment):
        names = contenders(run.candidates, plan.budget, plan.allow_fallback, _ratio(recorder))
        _have(tools, artifacts, names)
    with recorder.timing("time"):
        tools.timer.run_off(artifacts, [name for name in names if name in artifacts], RUN_OFF_S)


def _ratio(recorder: Recorder) -> Ratio:
    return p50_ratio_between(recorder.run, recorder.directory.path)


def _have(tools: Tools, artifacts: dict[str, Artifact], names: Iterable[str]) -> None:
    """Takes out of the cache what a run that goes on knows of, and nobody proposed again.

    Whoever is there no more, and cannot be built again, has failed.
    """
    recorder, deadline = tools.recorder, tools.deadline
    for name in sorted(set(names) - artifacts.keys()):
        try:
            built = tools.builder.build(
                recorder.run.candidate(name).plan.steps,
                lambda: deadline.limits(tools.limits, deadline.moment),
                recorder.teller("build", name, 0.0, 1.0),
            )
        except MloptError as e:
            recorder.fail(name, failure_of("build", e))
        else:
            artifacts[name] = built.artifact


def _decide(tools: Tools, artifacts: dict[str, Artifact]) -> Decision:
    """Chooses on selection, and confirms the choice on the holdout."""
    recorder = tools.recorder
    run = recorder.run
    if not run.baseline.is_timed or run.baseline.failure is not None:
        return without_baseline(run)
    plan = run.plan
    choice = choose(run.candidates, plan.budget, plan.allow_fallback, _ratio(recorder))
    if choice.chosen is None:
        return none_may_ship(run, choice)
    _have(tools, artifacts, [choice.chosen])
    if choice.chosen not in artifacts:
        return _decide(tools, artifacts)
    chosen = artifacts[choice.chosen]
    recorder.directory.write_model(chosen, session_settings(recorder.run.candidate(choice.chosen)))
    _confirm(tools, artifacts, choice.chosen)
    _explain(tools, artifacts[choice.chosen], choice.chosen)
    return confirmed(recorder.run, choice)


def _explain(tools: Tools, artifact: Artifact, chosen: str) -> None:
    """Looks at why the chosen one is as fast as it is; what goes wrong there costs only that."""
    recorder, deadline = tools.recorder, tools.deadline
    plan = recorder.run.plan
    done = recorder.run.diagnosis is not None or deadline.passed(deadline.moment)
    if done or not plan.diagnose:
        return
    examples = Examples(
        tools.prepared.snapshots["selection"], plan.workloads[0].batch_size, synthetic=False
    )
    with recorder.timing("diagnose"):
        try:
            found = diagnose_candidate(
                recorder.run.candidate(chosen),
                artifact,
                examples,
                deadline.limits(tools.limits, deadline.moment),
                lambda event: recorder.tell("confirm", event.message, event.done),
            )
        except MloptError as e:
            if not deadline.passed(deadline.moment):
                recorder.warn("confirm", f"{chosen} was not diagnosed: {without_paths(str(e))}")
            return
    recorder.set(diagnosis=found)


def _confirm(tools: Tools, artifacts: dict[str, Artifact], chosen: str) -> None:
    """Fresh launches and the holdout, for the chosen one and the baseline."""
    recorder, deadline = tools.recorder, tools.deadline
    if deadline.passed(deadline.moment):
        recorder.cut_short("the time limit came before the choice could be confirmed")
        return
    pair = {name: artifacts[name] for name in dict.fromkeys((recorder.run.baseline.name, chosen))}
    with recorder.timing("confirm"):
        qualities = tools.scorer.score(pair, "holdout", "confirm")
        if qualities.keys() == pair.keys():
            tools.timer.time(pair, qualities, "confirmation")
    load_candidates(_place(tools), {chosen: artifacts[chosen]}, "holdout")


def _place(tools: Tools) -> Place:
    """Where candidates are put under load."""
    prepared = tools.prepared
    where = (prepared.snapshots, prepared.project.directory)
    return Place(*where, tools.recorder, tools.limits, tools.deadline)

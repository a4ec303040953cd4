"""One run, from a plan to a decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mlopt.decision import choose
from mlopt.errors import MloptError
from mlopt.pipeline.builder import Builder
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.load import Place, load_candidates
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.quality import Scorer, failure_of
from mlopt.pipeline.ratios import p50_ratio_between
from mlopt.pipeline.recorder import Recorder, utc_now
from mlopt.pipeline.seal import artifact_sha256
from mlopt.pipeline.timing import Timer
from mlopt.pipeline.verdict import confirmed, none_may_ship, session_settings, without_baseline
from mlopt.search import Proposer
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.decision import Decision
from mlopt.types.privacy import without_paths
from mlopt.types.run import Run
from mlopt.workers import Limits


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
        while batch := tools.proposer.ask():
            artifacts |= _build(tools, batch)
            _measure(tools, artifacts)
            load_candidates(_place(tools), artifacts, "selection")
            tools.proposer.tell([recorder.run.candidate(c.name) for c in batch])
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


def _build(tools: Tools, batch: Sequence[PlannedCandidate]) -> dict[str, Artifact]:
    """Builds candidates; the baseline first, since nothing can be said without it."""
    recorder, deadline = tools.recorder, tools.deadline
    built: dict[str, Artifact] = {}
    order = sorted(batch, key=lambda c: c.role != "baseline")
    with recorder.timing("build"):
        for number, candidate in enumerate(order):
            recorder.directory.append_candidate(candidate)
            if deadline.passed(deadline.building):
                recorder.update(candidate.name, status="skipped")
                recorder.set(
                    partial="the time limit ended building before every candidate was built"
                )
                continue
            start, end = number / len(order), (number + 1) / len(order)
            recorder.tell("build", candidate.name, start)
            try:
                result = tools.builder.build(
                    candidate.steps,
                    deadline.limits(tools.limits, deadline.building),
                    recorder.teller("build", candidate.name, start, end),
                )
            except MloptError as e:
                if deadline.passed(deadline.building):
                    _skip(recorder, candidate)
                else:
                    recorder.fail(candidate.name, failure_of("build", e))
                continue
            manifest = result.artifact.manifest
            before = recorder.run.candidate(candidate.name)
            built[candidate.name] = result.artifact
            recorder.update(
                candidate.name,
                status="built" if before.selection is None else before.status,
                artifact_sha256=artifact_sha256(manifest),
                size_bytes=manifest.size_bytes,
                lineage=manifest.lineage,
                cached_steps=result.cached_steps,
                settings=candidate.settings,
            )
    return {c.name: built[c.name] for c in batch if c.name in built}


def _skip(recorder: Recorder, candidate: PlannedCandidate) -> None:
    recorder.update(candidate.name, status="skipped")
    recorder.set(partial="the time limit ended building before every candidate was built")


def _measure(tools: Tools, artifacts: dict[str, Artifact]) -> None:
    """Scores and times what was built, on the selection split."""
    recorder = tools.recorder
    waiting = {n: a for n, a in artifacts.items() if recorder.run.candidate(n).selection is None}
    baseline = recorder.run.baseline.name
    if not waiting or baseline not in artifacts:
        return
    with recorder.timing("score"):
        qualities = tools.scorer.score(
            {baseline: artifacts[baseline], **waiting}, "selection", "score"
        )
    scored = {n: a for n, a in artifacts.items() if n in qualities}
    if baseline not in scored:
        return
    with recorder.timing("time"):
        tools.timer.time(scored, qualities, "selection", "time")
    if recorder.run.baseline.selection is None and recorder.run.baseline.failure is None:
        recorder.set(
            partial="the time for measuring ended before the first launch did: raise --time-limit or "
            "measurement.max_seconds, or try fewer recipes at once"
        )


def _decide(tools: Tools, artifacts: dict[str, Artifact]) -> Decision:
    """Chooses on selection, and confirms the choice on the holdout."""
    recorder = tools.recorder
    run = recorder.run
    if run.baseline.selection is None or run.baseline.failure is not None:
        return without_baseline(run)
    plan = run.plan
    choice = choose(
        run.candidates,
        plan.budget,
        plan.allow_fallback,
        p50_ratio_between(run, recorder.directory.path),
    )
    if choice.chosen is None:
        return none_may_ship(run, choice)
    chosen = artifacts[choice.chosen]
    recorder.directory.write_model(chosen, session_settings(recorder.run.candidate(choice.chosen)))
    _confirm(tools, artifacts, choice.chosen)
    return confirmed(recorder.run, choice)


def _confirm(tools: Tools, artifacts: dict[str, Artifact], chosen: str) -> None:
    """Fresh launches and the holdout, for the chosen one and the baseline."""
    recorder, deadline = tools.recorder, tools.deadline
    if deadline.passed(deadline.moment):
        recorder.set(partial="the time limit came before the choice could be confirmed")
        return
    pair = {name: artifacts[name] for name in dict.fromkeys((recorder.run.baseline.name, chosen))}
    with recorder.timing("confirm"):
        qualities = tools.scorer.score(pair, "holdout", "confirm")
        if qualities.keys() == pair.keys():
            tools.timer.time(pair, qualities, "holdout", "confirm")
    load_candidates(_place(tools), {chosen: artifacts[chosen]}, "holdout")


def _place(tools: Tools) -> Place:
    """Where candidates are put under load."""
    prepared = tools.prepared
    where = (prepared.snapshots, prepared.project.directory)
    return Place(*where, tools.recorder, tools.limits, tools.deadline)

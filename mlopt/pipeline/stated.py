"""What a stored run says that is no statistic: its plan, and what follows from the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.errors import MloptError, RunError
from mlopt.pipeline.integrity import UNREADABLE
from mlopt.pipeline.ledger import Ledger, Place
from mlopt.pipeline.planning import margin
from mlopt.pipeline.recompute import ONCE, PHASES, WHEN
from mlopt.pipeline.seal import artifact_sha256
from mlopt.project import MetricSpec
from mlopt.providers import resolve_provider
from mlopt.search.front import summarize_search
from mlopt.store.hashing import sha256_file
from mlopt.store.rundir import PLAN, RUN, RunDirectory
from mlopt.types.artifact import Artifact
from mlopt.types.plan import Margin
from mlopt.types.run import CandidateResult, Run
from mlopt.types.verification import Findings, Mismatch

_NOT_KEPT = (
    "the artifact is not stored with the run: only that of the chosen candidate is, in model/"
)

_NO_EVIDENCE = "the run has no such evidence of the candidate"


def check_plan(ledger: Ledger, run: Run, run_dir: Path) -> Findings:
    """``plan.json`` against its hash in the run, and the run's copy of the plan against it.

    Args:
        ledger: Of ``run.json``.
        run: The run.
        run_dir: Its directory.

    Returns:
        What ``plan.json`` itself says that it should not.
    """
    directory = RunDirectory(run_dir)
    try:
        plan = directory.read_plan()
    except RunError as e:
        ledger.give_up(("plan",), f"there is no readable {PLAN} to compare it with")
        says = str(e) if (run_dir / PLAN).exists() else None
        missing = Mismatch(file=PLAN, place="", says=says, should="the plan of the run")
        return Findings(mismatches=(missing,))
    sha256 = sha256_file(run_dir / PLAN)
    if sha256 == run.plan_sha256 or plan == run.plan:
        ledger.expect(("plan_sha256",), sha256)
        ledger.expect(("plan",), plan.model_dump(mode="json"))
        return Findings()
    for field in ("plan", "plan_sha256"):
        ledger.give_up((field,), f"{PLAN} is not the one that the run began with")
    raw = json.loads((run_dir / PLAN).read_bytes())
    own = Ledger(PLAN, plan.model_dump(mode="json"), raw, 0.0)
    own.expect((), run.plan.model_dump(mode="json"))
    note = Mismatch(
        file=PLAN,
        place="",
        says=f"sha256 {sha256}",
        should=f"sha256 {run.plan_sha256}, as {RUN} has it",
    )
    return Findings(mismatches=(note, *own.findings().mismatches))


def recompute_plan(ledger: Ledger, run: Run, run_dir: Path) -> None:
    """What a plan says that follows from the rest of it, or from the stored targets."""
    plan = run.plan
    for i, one in enumerate(plan.margins):
        if "holdout" in plan.data:
            again = margin(_spec(one), plan.data["holdout"])
            ledger.expect(("plan", "margins", i), again.model_dump(mode="json"))
    for split, summary in plan.data.items():
        file = run_dir / "samples" / split / "targets.npz"
        if summary.class_sizes is None or not file.is_file():
            continue
        try:
            with np.load(file, allow_pickle=False) as arrays:
                targets = arrays["targets"]
        except UNREADABLE:
            continue  # the metrics, which need them, say so
        sizes = np.unique(targets, return_counts=True)[1].tolist()
        ledger.expect(("plan", "data", split, "class_sizes"), sizes)
        ledger.expect(("plan", "data", split, "examples"), len(targets))


def _spec(one: Margin) -> MetricSpec:
    direction: Any = "higher" if one.higher_is_better else "lower"
    return MetricSpec(
        name=one.metric,
        function=one.function,
        direction=direction if one.function is not None else None,
        max_drop=None if one.relative else one.max_drop,
        max_drop_relative=one.max_drop if one.relative else None,
    )


def recompute_facts(ledger: Ledger, run: Run, shipped: Artifact | None) -> None:
    """What of a run is no statistic: which follows from the plan, and which was only recorded."""
    for field in ("mlopt_version", "started_at", "finished_at", "environment", "seconds"):
        ledger.give_up((field,), WHEN)
    ledger.give_up(("partial",), ONCE)
    ledger.give_up(("diagnosis",), ONCE)
    for i, one in enumerate(run.search):
        again = summarize_search(one.recipe, one.method, one.choices, one.asked, run)
        ledger.expect(("search", i), again.model_dump(mode="json"))
    ledger.expect(("schema_version",), run.schema_version)
    _status(ledger, run)
    planned_count, count = len(run.plan.candidates), len(run.candidates)
    may_grow = not run.plan.refinement.is_empty
    if count < planned_count or (count > planned_count and not may_grow):
        should = f"{planned_count} candidates, as the plan has them"
        ledger.contradict(("candidates",), f"{count} candidates", should)
    # What was proposed later is compared with candidates.jsonl, where it stood before it was built.
    later = [c.plan for c in run.candidates[planned_count:]] if may_grow else []
    known = [*run.plan.candidates, *later]
    for i, (result, planned) in enumerate(zip(run.candidates, known, strict=False)):
        place: Place = ("candidates", i)
        built = result.artifact_sha256 is not None
        for field in ("failure", "cached_steps", "placement"):
            ledger.give_up((*place, field), ONCE)
        ledger.expect((*place, "plan"), planned.model_dump(mode="json"))
        ledger.expect((*place, "status"), _status_of(result))
        settings = planned.model_dump(mode="json")["settings"] if built else {}
        ledger.expect((*place, "settings"), settings)
        for phase in PHASES:
            if getattr(result, phase) is None:
                ledger.give_up((*place, phase), _NO_EVIDENCE)
        _fallback(ledger, place, result)
        _built(ledger, place, result, run, shipped)


def _status(ledger: Ledger, run: Run) -> None:
    if run.decision is None or run.partial is not None:
        ledger.give_up(("status",), ONCE)
    else:
        broken = run.baseline.failure is not None
        ledger.expect(("status",), "failed" if broken else "complete")


def _status_of(result: CandidateResult) -> str:
    """What a candidate's other fields say; between planned and skipped only the status tells."""
    if result.failure is not None:
        return "failed"
    if result.selection is not None:
        return "measured"
    if result.artifact_sha256 is not None:
        return "built"
    return result.status if result.status in {"planned", "skipped"} else "planned"


def _fallback(ledger: Ledger, place: Place, result: CandidateResult) -> None:
    if result.placement is None:
        ledger.expect((*place, "fell_back"), False)
        return
    try:
        provider = resolve_provider(result.plan.provider).ort_name
    except MloptError as e:
        ledger.give_up((*place, "fell_back"), f"its provider is not known here: {e}")
        return
    ledger.expect((*place, "fell_back"), result.placement.share_on(provider) < 1.0)


def _built(
    ledger: Ledger, place: Place, result: CandidateResult, run: Run, shipped: Artifact | None
) -> None:
    chosen = run.decision.chosen if run.decision is not None else None
    manifest = shipped.manifest if shipped is not None and result.name == chosen else None
    if manifest is None:
        for field in ("artifact_sha256", "size_bytes", "lineage"):
            ledger.give_up((*place, field), _NOT_KEPT)
        return
    lineage = [step.model_dump(mode="json") for step in manifest.lineage]
    ledger.expect((*place, "artifact_sha256"), artifact_sha256(manifest))
    ledger.expect((*place, "size_bytes"), manifest.size_bytes)
    ledger.expect((*place, "lineage"), lineage)

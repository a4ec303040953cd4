"""Whether a run that was cut off may go on, and from where."""

from __future__ import annotations

from pathlib import Path

from mlopt.decision import SELECTION_RULE
from mlopt.errors import RunError
from mlopt.machine.environment import describe_environment
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.timing import INTERRUPTED
from mlopt.store.hashing import sha256_file
from mlopt.store.rundir import PLAN
from mlopt.types.measurement import Evidence
from mlopt.types.run import CandidateResult, Run


def refuse_changed(run: Run, made: Prepared, path: Path) -> None:
    """A run goes on only with the project, machine and libraries that it began with.

    Raises:
        RunError: One of them has changed, or the run has ended.
    """
    if run.status == "complete":
        raise RunError(
            f"{path} is complete: there is nothing to resume. Run 'mlopt report' to render it again."
        )
    if sha256_file(path / PLAN) != run.plan_sha256:
        raise RunError(f"{path}/{PLAN} is not the plan that the run began with. Start a new run.")
    here = describe_environment(())
    before = run.environment
    changed = {
        "the project's Python code": run.plan.sources_sha256 != made.sources_sha256,
        "the model": run.plan.model_sha256 != made.model_sha256,
        "what mlopt.yaml says of training": run.plan.training_sha256 != made.training_sha256,
        "the data": run.plan.data != made.data,
        "the machine": (here.cpu, here.cpus, here.cpu_flags)
        != (before.cpu, before.cpus, before.cpu_flags),
        "a library's version": here.libraries != before.libraries,
        "mlopt's selection rule": run.plan.selection_rule != SELECTION_RULE,
    }
    if found := [what for what, differs in changed.items() if differs]:
        raise RunError(
            f"{path} cannot be resumed: {' and '.join(found)} changed since it began, and only "
            "measurements of one trial may be compared. Start a new run."
        )


def reopen(run: Run) -> Run:
    """The run as it goes on: what a trial had seen when it was cut off is measured again.

    Launches that were complete come out of the trial's checkpoint, and count.
    """
    return run.model_copy(
        update={
            "status": "running",
            "finished_at": None,
            "partial": None,
            "decision": None,
            "candidates": tuple(_reopened(candidate) for candidate in run.candidates),
        }
    )


def _reopened(candidate: CandidateResult) -> CandidateResult:
    selection = _settled(candidate.selection)
    return candidate.model_copy(
        update={
            "status": "planned" if selection is None else "measured",
            "failure": None,
            "selection": selection,
            "run_off": _settled(candidate.run_off),
            "confirmation": _settled(candidate.confirmation),
        }
    )


def _settled(evidence: Evidence | None) -> Evidence | None:
    if evidence is None or not evidence.measurements:
        return None
    if any(m.stopped_because == INTERRUPTED for m in evidence.measurements):
        return None
    return evidence

"""From the evidence of a run to its decision; nothing is measured here.

What decides a run and what recomputes a stored decision are the same functions.
"""

from __future__ import annotations

import json

from mlopt.decision import Choice, judge
from mlopt.types.decision import Decision, Outcome, worst
from mlopt.types.run import CandidateResult, Run


def session_settings(candidate: CandidateResult) -> str:
    """What ships beside the model: how the session that was measured was set up."""
    plan = candidate.plan
    settings = {"runner": plan.runner, "provider": plan.provider, "settings": plan.settings}
    return json.dumps(settings, indent=1) + "\n"


def without_baseline(run: Run) -> Decision:
    """The decision when the baseline could not be measured: there is nothing to compare with."""
    failure = run.baseline.failure
    why = failure.cause if failure else run.partial or "nothing was measured"
    return Decision(
        chosen=None,
        outcome="FAIL" if failure else "INCONCLUSIVE",
        reason=f"the baseline {run.baseline.name} could not be measured: {why}",
    )


def none_may_ship(run: Run, choice: Choice) -> Decision:
    """FAIL when every candidate fails; INCONCLUSIVE when some were never measured."""
    unmeasured = [c for c in run.candidates if c.status in {"planned", "built", "skipped"}]
    return Decision(
        chosen=None,
        outcome="INCONCLUSIVE" if unmeasured else "FAIL",
        reason=choice.reason,
        rejected=choice.rejected,
    )


def confirmed(run: Run, choice: Choice) -> Decision:
    """The decision once the chosen candidate has been measured again, as far as it was.

    Args:
        run: With the confirmation of the chosen candidate.
        choice: Which chose one.
    """
    assert choice.chosen is not None, "there is something to confirm"
    verdict = _verdict_of(run.candidate(choice.chosen), choice.reason, run)
    return verdict.model_copy(update={"rejected": choice.rejected, "tied_with": choice.tied_with})


def _verdict_of(result: CandidateResult, reason: str, run: Run) -> Decision:
    evidence = result.confirmation
    if evidence is None or evidence.quality is None or not evidence.measurements:
        failure = result.failure or run.baseline.failure
        why = failure.cause if failure else run.partial or "nothing was measured"
        outcome: Outcome = "FAIL" if result.failure else "INCONCLUSIVE"
        return Decision(
            chosen=result.name,
            outcome=outcome,
            reason=f"{reason}; it could not be confirmed: {why}",
        )
    verdicts = judge(run.plan.budget, evidence, result.size_bytes)
    return Decision(
        chosen=result.name,
        outcome=worst([verdict.outcome for verdict in verdicts]),
        reason=reason,
        verdicts=verdicts,
    )

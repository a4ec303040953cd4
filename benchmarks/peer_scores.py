"""What the members of a comparison answer, and what they lose by the project's deciding metric."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from peer_case import EAGER, LIMITS, SEED, Case

from mlopt.decision.judge import judge_margin
from mlopt.errors import MloptError, ModelError
from mlopt.pipeline.accuracy import Answers, Exam, answer, compare_answers
from mlopt.pipeline.planning import margin
from mlopt.pipeline.reference import Entrant
from mlopt.types.candidate import Stage
from mlopt.types.measurement import MetricResult


class Scores(NamedTuple):
    """What was found on one split.

    Attributes:
        metrics: The deciding metric of every member, with its delta to eager PyTorch.
        failed: Why a member could not be scored.
    """

    metrics: dict[str, MetricResult]
    failed: dict[str, str]


def score(case: Case, stages: Mapping[str, Stage], split: str, over: str = EAGER) -> Scores:
    """Lets members answer a split, and compares their answers with those of one of them.

    Answers are kept, and not asked for again.

    Args:
        case: The model.
        stages: The members, ``over`` among them.
        split: ``selection`` or ``holdout``.
        over: Whom deltas are over.
    """
    work = case.place / "answers" / split
    work.mkdir(parents=True, exist_ok=True)
    exam = Exam(case.prepared, split, LIMITS, SEED, work, lambda event: None)
    answers: dict[str, Answers] = {}
    failed: dict[str, str] = {}
    for name, stage in stages.items():
        try:
            answers[name] = _answer(exam, name, stage)
        except MloptError as e:
            failed[name] = f"scoring: {e}"
    if over in failed:
        raise ModelError(f"{over} cannot be scored: {failed[over]}")
    compared = compare_answers(exam, answers, over)
    return Scores({name: quality.metrics[0] for name, quality in compared.items()}, failed)


def forget_answers(case: Case, name: str) -> None:
    """Has a member asked again: it is no longer what it was.

    Args:
        case: The model.
        name: Of the member.
    """
    for file in (case.place / "answers").glob(f"*/{_role(name)}.npy"):
        file.unlink()


def loss(metric: MetricResult) -> float:
    """How much of the metric is lost, in its units; negative where it was gained."""
    return -metric.delta.value if metric.higher_is_better else metric.delta.value


def verdict(case: Case, metric: MetricResult) -> dict[str, Any]:
    """The verdict at the project's margin, or at the least that the holdout can prove if that is more.

    Args:
        case: The model.
        metric: On the holdout, over eager PyTorch.

    Returns:
        ``margin`` and ``verdict``; nothing where the holdout cannot be known to prove anything.
    """
    known = margin(case.prepared.project.project.metrics[0], case.prepared.data["holdout"])
    if known.max_drop is None or known.provable is None:
        return {}
    largest = max(known.max_drop, math.ceil(100 * known.provable) / 100)
    judged = judge_margin(metric.model_copy(update={"max_drop": largest}))
    return {"margin": largest, "verdict": judged.outcome}


def _answer(exam: Exam, name: str, stage: Stage) -> Answers:
    role = _role(name)
    file = exam.work / f"{role}.npy"
    if file.exists():
        return Answers(file, None)
    entrant = Entrant(
        name, None, Path(stage.artifact), stage.runner, stage.provider, stage.settings
    )
    return answer(exam, entrant, role)


def _role(name: str) -> str:
    """What a member is called as a file."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")

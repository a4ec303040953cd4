"""What happened while a model trained."""

from __future__ import annotations

import math

from mlopt.types.record import Record


class EpochResult(Record):
    """One pass over the training part.

    Attributes:
        epoch: From 1; 0 is the model as it came in.
        loss: Mean over the training batches; None for epoch 0.
        validation_loss: The same objective on the validation part, without augmentation. None
            where there is no such part, or the value is not finite.
        validation_score: The project's deciding metric there; None where it is not defined.
        learning_rate: At the end of the epoch; None for epoch 0.
    """

    epoch: int
    loss: float | None
    validation_loss: float | None
    validation_score: float | None
    learning_rate: float | None


class History(Record):
    """The training curve, and what was kept of it.

    Attributes:
        start: The model as it came in, on the validation part.
        best_epoch: Whose weights were kept; 0: those that came in.
        metric: Name of ``validation_score``.
        examples: In the training part.
        seconds: Spent in epochs, before an interruption too.
        teacher_score: The metric of the teacher on the validation part; None without one.
    """

    start: EpochResult
    epochs: tuple[EpochResult, ...]
    best_epoch: int
    stopped_early: bool
    metric: str
    examples: int
    validation_examples: int
    seconds: float
    teacher_score: float | None = None


def best_epoch(results: list[EpochResult], higher_is_better: bool) -> int:
    """The epoch to keep: by score, then by validation loss, then the earlier one.

    Without any figure of a validation part, it is the last one. The score comes first because it is
    what the project decides by, coarse as it may be: on four small tables with three schedules each,
    15 seeds, choosing by the loss alone differed by -0.4 to +0.4 points on unseen examples, and in
    no case by more than its interval.

    Args:
        results: At least one.
        higher_is_better: The direction of the score.
    """
    if all(r.validation_loss is None and r.validation_score is None for r in results):
        return results[-1].epoch
    return max(results, key=lambda r: (*_rank(r, higher_is_better), -r.epoch)).epoch


def _rank(result: EpochResult, higher_is_better: bool) -> tuple[float, float]:
    score, loss = result.validation_score, result.validation_loss
    upwards = score if score is None or higher_is_better else -score
    return -math.inf if upwards is None else upwards, -math.inf if loss is None else -loss


def out_of_patience(
    results: list[EpochResult], higher_is_better: bool, patience: int | None
) -> bool:
    """Whether the last ``patience`` epochs brought nothing better.

    The model as it came in is not asked: training may have to leave a good place to find a better
    one, and the warm-up does so at once.

    Args:
        results: Of the epochs that were trained.
        higher_is_better: The direction of the score.
        patience: None never runs out.
    """
    if patience is None or len(results) <= patience:
        return False
    return results[-1].epoch - best_epoch(results, higher_is_better) >= patience


def finite(value: float) -> float | None:
    """The value, or None where it is NaN or infinite."""
    return value if math.isfinite(value) else None

"""Slices that lost more than the whole may: a warning, and never a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from mlopt.evaluation.metrics import BUILTIN
from mlopt.types.measurement import Quality, SliceResult
from mlopt.types.plan import Margin

POINTS = frozenset({"accuracy", "token_accuracy", "exact_match"})
"""Metrics of slices that are a share of right answers, and so have percentage points."""


def lost_beyond_margin(margins: Sequence[Margin], quality: Quality) -> tuple[SliceResult, ...]:
    """The slices that certainly lost more than the margin of the metric that decides.

    Certainly: with the intervals of all slices holding at once. Where slices have another metric,
    the margin is taken over if both are shares, such as F1 and the share of right answers. A metric
    of the user's is another one than that of mlopt's with the same name.

    Args:
        margins: Of the plan; the first one decides.
        quality: Of one candidate.
    """
    if not margins or not quality.metrics or quality.metrics[0].max_drop is None:
        return ()
    first, largest = margins[0], quality.metrics[0].max_drop
    return tuple(
        part
        for part in quality.slices
        if part.least_loss > largest and _is_measured_alike(part.metric, first)
    )


def _is_measured_alike(metric: str, margin: Margin) -> bool:
    if margin.function is not None:
        return metric == margin.metric and metric not in BUILTIN
    return metric == margin.metric or (is_share(metric) and is_share(margin.metric))


def is_share(metric: str) -> bool:
    """Whether one of mlopt's metrics lies between 0 and 1, for answers that are right or wrong."""
    return metric in BUILTIN and BUILTIN[metric].task in {
        "classification",
        "token_classification",
        "question_answering",
    }

"""Slices that certainly lost more than the whole may."""

from __future__ import annotations

import pytest
from made_by_hand import interval, metric

from mlopt.decision.slices import lost_beyond_margin
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Quality, SliceResult
from mlopt.types.plan import Margin


def quality(name: str, max_drop: float | None, part_metric: str, least_loss: float) -> Quality:
    deciding = metric(interval(0.0, -0.01, 0.01), name=name, max_drop=max_drop)
    part = SliceResult(
        name="dark",
        metric=part_metric,
        examples=50,
        value=0.5,
        baseline_value=0.9,
        delta=Estimate(value=-0.4, low=-0.5, high=-0.3),
        p_value=0.001,
        least_loss=least_loss,
    )
    return Quality(
        split="holdout", predictions=None, metrics=(deciding,), flip_rate=None, slices=(part,)
    )


@pytest.mark.parametrize(
    ("name", "function", "max_drop", "part_metric", "least_loss", "found"),
    [
        ("accuracy", None, 0.02, "accuracy", 0.03, True),
        ("accuracy", None, 0.02, "accuracy", 0.01, False),
        ("accuracy", None, None, "accuracy", 0.5, False),
        ("f1", None, 0.02, "accuracy", 0.03, True),
        ("r2", None, 0.02, "mse", 0.03, False),
        ("own", "metrics:own", 0.02, "accuracy", 0.03, False),
        ("accuracy", "metrics:own", 0.02, "exact_match", 0.03, False),
        ("own", "metrics:own", 0.02, "own", 0.03, True),
        ("accuracy", "metrics:own", 0.02, "accuracy", 0.03, False),
    ],
)
def test_a_margin_is_held_against_what_is_measured_alike(
    name: str,
    function: str | None,
    max_drop: float | None,
    part_metric: str,
    least_loss: float,
    found: bool,
) -> None:
    margin = Margin(metric=name, higher_is_better=True, max_drop=max_drop, function=function)
    seen = lost_beyond_margin([margin], quality(name, max_drop, part_metric, least_loss))
    assert bool(seen) == found

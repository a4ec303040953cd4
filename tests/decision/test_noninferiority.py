"""Whether a candidate keeps its quality, before anything is confirmed."""

from __future__ import annotations

import pytest
from made_by_hand import candidate, interval, metric

from mlopt.decision.noninferiority import keeps_quality, loses_too_much
from mlopt.types.run import Failure


@pytest.mark.parametrize(
    ("low", "value", "high", "keeps"),
    [
        (-0.009, -0.002, 0.005, True),
        (-0.011, -0.002, 0.005, False),
        (-0.05, -0.03, -0.02, False),
    ],
)
def test_the_whole_interval_must_lie_within_the_margin(
    low: float, value: float, high: float, keeps: bool
) -> None:
    seen = metric(interval(value, low, high), gained=5, lost=7)
    assert keeps_quality(candidate("a", metrics=(seen,))) is keeps


@pytest.mark.parametrize(("loss", "keeps"), [(0.001, True), (0.003, False)])
def test_the_loss_decides_where_no_answers_could_show_the_margin(loss: float, keeps: bool) -> None:
    # 1000 examples show a loss of 0.0038 at best.
    delta = interval(-loss, -loss - 0.01, -loss + 0.01)
    seen = metric(delta, max_drop=0.002, gained=1, lost=2)
    assert keeps_quality(candidate("a", metrics=(seen,))) is keeps


def test_an_open_verdict_of_a_metric_that_could_be_shown_is_not_enough() -> None:
    seen = metric(interval(0.001, -0.02, 0.022))
    assert not keeps_quality(candidate("a", metrics=(seen,)))


def test_a_metric_that_only_is_reported_decides_nothing() -> None:
    seen = metric(interval(-0.5, -0.6, -0.4), max_drop=None)
    assert keeps_quality(candidate("a", metrics=(seen,)))


def test_what_failed_or_was_not_scored_keeps_nothing() -> None:
    failure = Failure(during="score", cause="it broke")
    assert not keeps_quality(candidate("a", failure=failure))
    assert not keeps_quality(candidate("a").model_copy(update={"selection": None}))


def test_a_loss_is_too_much_when_what_was_seen_is_over_the_margin_whatever_its_interval() -> None:
    open_verdict = metric(interval(-0.011, -0.03, 0.01))
    assert loses_too_much(candidate("a", metrics=(open_verdict,)))
    assert not loses_too_much(candidate("a", metrics=(metric(interval(-0.009, -0.03, 0.01)),)))
    rise = metric(interval(0.011, 0.0, 0.02), higher_is_better=False)
    assert loses_too_much(candidate("a", metrics=(rise,)))
    failure = Failure(during="time", cause="it broke")
    assert not loses_too_much(candidate("a", metrics=(open_verdict,), failure=failure))

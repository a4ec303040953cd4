"""What a search minimises, and the front of what it saw."""

from __future__ import annotations

import itertools

from search_cases import SPACE, fate, planned, result, run_of

from mlopt.search.front import objectives, pareto_front, summarize_search
from mlopt.types.measurement import Evidence
from mlopt.types.run import Failure


def test_the_objectives_are_the_p50_ratio_and_the_loss_of_the_first_metric() -> None:
    assert objectives(result(planned({}), (0.4, 0.02))) == (0.4, 0.02)


def test_of_a_metric_that_is_better_when_lower_a_rise_is_a_loss() -> None:
    one = result(planned({}), (0.4, 0.02))
    quality = one.selection.quality
    metric = quality.metrics[0].model_copy(update={"higher_is_better": False})
    selection = one.selection.model_copy(
        update={"quality": quality.model_copy(update={"metrics": (metric,)})}
    )
    assert objectives(one.model_copy(update={"selection": selection})) == (0.4, -0.02)


def test_what_failed_or_was_only_scored_has_none() -> None:
    one = result(planned({}), (0.4, 0.02))
    failure = Failure(during="time", cause="it crashed")
    assert objectives(one.model_copy(update={"failure": failure})) is None
    scored = Evidence(
        measurements=(), quality=one.selection.quality, cold_start_ms=None, peak_rss_bytes=None
    )
    assert objectives(one.model_copy(update={"selection": scored})) is None


def test_the_front_holds_what_nothing_beats_the_fastest_first_and_equals_together() -> None:
    points = {
        "slow and exact": (1.0, 0.0),
        "beaten": (0.6, 0.02),
        "between": (0.5, 0.01),
        "as good": (0.5, 0.01),
        "fast": (0.2, 0.3),
        "beaten in one": (1.0, 0.01),
    }
    assert pareto_front(points) == ("fast", "between", "as good", "slow and exact")


def test_the_front_of_the_whole_space_is_known() -> None:
    choices = [
        dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())
    ]
    run = run_of(*(result(planned(one), fate(one)) for one in choices))
    names = [one.name for one in run.candidates]
    found = summarize_search("int8", "all", SPACE, names, run)
    assert found.seen == found.size == 60
    assert found.front == tuple(
        planned({"calibration": "entropy", "exclude": [], "threads": threads}).name
        for threads in (16, 8, 4, 2, 1)
    )


def test_candidates_of_others_do_not_count() -> None:
    run = run_of(result(planned({"a": 1}), (1.0, 0.0)), result(planned({"a": 2}), "it broke"))
    found = summarize_search("int8", "some", {"a": [1, 2]}, [planned({"a": 1}).name], run)
    assert (found.seen, found.failed, found.front) == (1, 0, (planned({"a": 1}).name,))

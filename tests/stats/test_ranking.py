"""What a holdout can prove of the AUROC, and an interval that claims no more."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from mlopt.stats import smallest_provable_auroc_drop, smallest_provable_drop, weighted_delta

Floats = NDArray[np.float64]

POSITIVES, NEGATIVES = 60, 90


def auroc(scores: Floats) -> Callable[[Floats], Floats]:
    """The AUROC of scores, positives first, for rows of weights."""
    positive, negative = scores[:POSITIVES], scores[POSITIVES:]
    in_order = (positive[:, None] > negative).astype(float)

    def area(weights: Floats) -> Floats:
        above, below = weights[:, :POSITIVES], weights[:, POSITIVES:]
        ordered = ((above @ in_order) * below).sum(axis=1)
        found: Floats = ordered / (above.sum(axis=1) * below.sum(axis=1))
        return found

    return area


def test_of_two_classes_the_rarer_one_decides() -> None:
    assert smallest_provable_auroc_drop([169, 100]) == pytest.approx(smallest_provable_drop(100))
    assert smallest_provable_auroc_drop([100, 169]) == pytest.approx(smallest_provable_drop(100))
    assert smallest_provable_auroc_drop([100, 10**6]) == pytest.approx(
        smallest_provable_drop(100), rel=1e-3
    )


def test_it_is_the_drop_that_stays_unseen_with_a_chance_of_one_in_forty() -> None:
    share = smallest_provable_auroc_drop([100, 169])
    assert (1 - share) ** 100 == pytest.approx(0.025, abs=0.003)


def test_more_examples_of_the_rarest_class_prove_a_smaller_drop() -> None:
    drops = [smallest_provable_auroc_drop([n, 500, 500]) for n in (50, 100, 200, 400)]
    assert all(more < fewer for fewer, more in pairwise(drops))


def test_a_class_that_does_not_occur_is_left_out() -> None:
    assert smallest_provable_auroc_drop([0, 40, 50]) == smallest_provable_auroc_drop([40, 50])


def test_the_macro_average_loses_what_failures_of_one_class_cost_in_every_ranking() -> None:
    sizes = [30, 60, 90]
    share = smallest_provable_drop(30)
    lost = [share, share * 30 / (180 - 60), share * 30 / (180 - 90)]
    assert smallest_provable_auroc_drop(sizes) == pytest.approx(sum(lost) / 3)


@pytest.mark.parametrize("sizes", [[], [5], [0, 5], [-1, 5, 5]])
def test_refuses_what_has_no_auroc(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="got"):
        smallest_provable_auroc_drop(sizes)


@pytest.mark.parametrize(("floor", "errs"), [(0.0, (0.2, 1.0)), (None, (0.0, 0.025))])
def test_rare_gross_failures_hide_from_the_bootstrap_and_not_from_the_floor(
    floor: float | None, errs: tuple[float, float]
) -> None:
    """On the boundary: what is claimed to lose less than the margin loses just the margin."""
    margin, trials = 0.02, 40
    least = smallest_provable_auroc_drop([POSITIVES, NEGATIVES]) if floor is None else floor
    rng = np.random.default_rng(0)
    claimed = 0
    for trial in range(trials):
        before = rng.normal(size=POSITIVES + NEGATIVES)
        before[:POSITIVES] += 2.5
        after = before + rng.normal(0, 0.05, size=before.size)  # as rounding moves every score
        after[:POSITIVES][rng.random(POSITIVES) < margin] = -20
        old, new = auroc(before), auroc(after)

        def change(weights: Floats, old=old, new=new) -> Floats:  # type: ignore[no-untyped-def]
            difference: Floats = new(weights) - old(weights)
            return difference

        found = weighted_delta(change, before.size, seed=trial, resamples=100, floor=least)
        assert found.low is not None
        claimed += found.low > -margin
    assert errs[0] <= claimed / trials <= errs[1]


def test_a_floor_widens_both_ends_and_never_narrows() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=POSITIVES + NEGATIVES)
    after = rng.normal(size=POSITIVES + NEGATIVES)
    old, new = auroc(before), auroc(after)
    ends = [
        weighted_delta(lambda w: new(w) - old(w), before.size, seed=0, resamples=100, floor=floor)
        for floor in (0.0, 0.001, 0.4)
    ]
    assert ends[0] == ends[1]
    assert ends[2].low == pytest.approx(ends[2].value - 0.4)
    assert ends[2].high == pytest.approx(ends[2].value + 0.4)

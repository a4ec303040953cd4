import math

import numpy as np
import pytest
from scipy import stats

from mlopt.stats import (
    examples_needed,
    examples_needed_from_interval,
    mcnemar_exact,
    mcnemar_one_sided,
    smallest_provable_drop,
    tango_interval,
)
from mlopt.types.estimate import Estimate

Z2 = stats.norm.ppf(0.975) ** 2


def test_reproduces_a_published_interval() -> None:
    """Airway hyper-responsiveness, n = 21 with 1 and 7 discordant pairs (Bentur et al., 2009)."""
    low, high = tango_interval(1, 7, 21)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(3, 9, 100), (0, 4, 50), (30, 30, 60), (1, 0, 2)]
)
def test_both_ends_solve_the_score_equation(gained: int, lost: int, n: int) -> None:
    def best_share_lost(delta: float) -> float:
        grid = np.linspace(max(0, -delta), (1 - delta) / 2, 400_001)[1:-1]
        with np.errstate(divide="ignore"):
            fit = (n - gained - lost) * np.log(1 - 2 * grid - delta)
            fit += gained * np.log(grid + delta) + lost * np.log(grid)
        return float(grid[np.argmax(fit)])

    for end in tango_interval(gained, lost, n):
        variance = n * (2 * best_share_lost(end) + end * (1 - end))
        score = (gained - lost - n * end) ** 2 / variance
        assert score == pytest.approx(Z2, rel=1e-3)


@pytest.mark.parametrize("n", [1, 20, 300, 100_000])
def test_no_discordant_pair_has_the_closed_form(n: int) -> None:
    half_width = Z2 / (n + Z2)
    assert tango_interval(0, 0, n) == pytest.approx((-half_width, half_width))


def test_swapping_the_models_mirrors_the_interval() -> None:
    low, high = tango_interval(3, 11, 200)
    assert tango_interval(11, 3, 200) == pytest.approx((-high, -low))


@pytest.mark.parametrize("n", [1, 5, 12])
def test_every_table_gives_ordered_ends_around_the_difference(n: int) -> None:
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            low, high = tango_interval(gained, lost, n)
            assert -1 <= low <= (gained - lost) / n <= high <= 1
            assert low < high


def test_a_change_of_every_answer_reaches_the_end_of_the_scale() -> None:
    low, high = tango_interval(40, 0, 40)
    assert high == 1
    assert low == pytest.approx((40 - Z2) / (40 + Z2))


def test_is_wald_for_large_n() -> None:
    n, gained, lost = 10**6, 30_000, 31_000
    half_width = math.sqrt(Z2 * (gained + lost - (gained - lost) ** 2 / n)) / n
    expected = ((gained - lost) / n - half_width, (gained - lost) / n + half_width)
    assert tango_interval(gained, lost, n) == pytest.approx(expected, abs=1e-6)


def test_covers_the_true_difference() -> None:
    rng = np.random.default_rng(0)
    gains, losses, _ = rng.multinomial(400, [0.02, 0.03, 0.95], 600).T
    ends = np.array([tango_interval(g, k, 400) for g, k in zip(gains, losses, strict=True)])
    assert 0.92 <= ((ends[:, 0] <= -0.01) & (ends[:, 1] >= -0.01)).mean() <= 0.98


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 7), (5, 5), (12, 3)])
def test_mcnemar_is_the_two_sided_sign_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_exact(gained, lost) == pytest.approx(expected)


def test_knows_what_a_holdout_can_prove() -> None:
    assert smallest_provable_drop(765) <= 0.005 < smallest_provable_drop(764)
    assert smallest_provable_drop(381) <= 0.01 < smallest_provable_drop(380)
    assert round(100 * smallest_provable_drop(300), 2) == 1.26


def test_says_how_many_examples_would_settle_it() -> None:
    assert examples_needed(0, 0, 300, 0.005) == 765
    assert examples_needed(0, 0, 1000, 0.005) == 1000
    needed = examples_needed(3, 5, 500, 0.01)
    assert needed is not None
    scale = needed / 500
    assert tango_interval(3 * scale, 5 * scale, needed)[0] > -0.01
    scale = (needed - 1) / 500
    assert tango_interval(3 * scale, 5 * scale, needed - 1)[0] <= -0.01


def test_a_clear_loss_can_be_settled_too() -> None:
    needed = examples_needed(10, 30, 1000, 0.01)
    assert needed is not None
    assert tango_interval(needed / 100, 3 * needed / 100, needed)[1] < -0.01


def test_a_delta_at_the_margin_is_never_settled() -> None:
    assert examples_needed(0, 5, 500, 0.01) is None
    assert examples_needed(0, 0, 500, 0.0) is None


@pytest.mark.parametrize(("gained", "lost", "n"), [(-1, 0, 5), (0, 0, 0), (3, 3, 5)])
def test_refuses_impossible_counts(gained: int, lost: int, n: int) -> None:
    with pytest.raises(ValueError, match="must"):
        tango_interval(gained, lost, n)
    with pytest.raises(ValueError, match="must"):
        examples_needed(gained, lost, n, 0.01)


def test_refuses_a_confidence_or_margin_out_of_range() -> None:
    with pytest.raises(ValueError, match="confidence"):
        tango_interval(1, 1, 10, confidence=1.0)
    with pytest.raises(ValueError, match="max_drop"):
        examples_needed(1, 1, 10, max_drop=-0.01)
    with pytest.raises(ValueError, match="counts"):
        mcnemar_exact(-1, 2)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 7), (5, 5), (12, 3), (0, 4)])
def test_one_sided_mcnemar_counts_as_many_losses_or_more(gained: int, lost: int) -> None:
    pairs = gained + lost
    expected = stats.binomtest(lost, pairs, alternative="greater").pvalue if pairs else 1.0
    assert mcnemar_one_sided(gained, lost) == pytest.approx(expected)


def test_examples_needed_follow_the_square_root_law() -> None:
    # 0.02 to the margin, 0.03 wide: 1.5 times as wide, so 2.25 times as many, and one to be inside.
    delta = Estimate(value=0.0, low=-0.03, high=0.1)
    assert examples_needed_from_interval(delta, 400, 0.02, higher_is_better=True) == 901
    assert examples_needed_from_interval(delta, 400, 0.02, higher_is_better=False) == 10_001
    worse = Estimate(value=-0.05, low=-0.1, high=-0.01)
    assert examples_needed_from_interval(worse, 400, 0.02, higher_is_better=True) == 712


def test_examples_needed_where_it_is_settled_or_never_will_be() -> None:
    clear = Estimate(value=0.0, low=-0.01, high=0.01)
    assert examples_needed_from_interval(clear, 400, 0.02, higher_is_better=True) == 400
    at_margin = Estimate(value=-0.02, low=-0.03, high=-0.01)
    assert examples_needed_from_interval(at_margin, 400, 0.02, higher_is_better=True) is None
    unknown = Estimate(value=0.0)
    assert examples_needed_from_interval(unknown, 400, 0.02, higher_is_better=True) is None
    with pytest.raises(ValueError, match="max_drop"):
        examples_needed_from_interval(clear, 400, -0.1, higher_is_better=True)
    with pytest.raises(ValueError, match="positive"):
        examples_needed_from_interval(clear, 0, 0.1, higher_is_better=True)

"""Tango's interval where outcomes come in units that are resampled as one: tokens of a sentence.

A bootstrap needs many units that changed. Where a candidate changes few of them, which is what good
ones do, it misses the truth too often. In 800 simulated comparisons of sentences of 5 to 24 tokens,
some losing half of what was right and some gaining all that was wrong, the nominal 95% held the
truth (BCa bootstrap / this interval): 120 sentences of which 10% lose and 5% gain, 93% / 95%; 2% and
1%, 83% / 93%; 200 sentences of which 1% lose, 80% / 97%. The least seen is 89%, where 2% of 200
sentences lose much and all others lose next to nothing. Of 300 scores between 0 and 1, 0.5% falling
and 0.3% rising by any part, 77% / 97%. Where no unit of the kind that changes was drawn, nothing
knows of it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mlopt.stats.proportions import tango_interval


def clustered_tango_interval(
    gained: ArrayLike, lost: ArrayLike, sizes: ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of the difference of two shares of right answers, whole units being drawn.

    All counts are divided by the design effect: the variance of the difference between units over
    the one that as many independent outcomes would have (Rao & Scott, Biometrics 48 (1992)
    577-585). It is at least 1 where units have several outcomes. Where nothing changed, and it
    cannot be known, a unit counts as one outcome: the interval is `tango_interval(0, 0, U)`.

    Args:
        gained: Of each unit, the outcomes that became right, shape (U,). A score between 0 and 1 is
            a unit of size 1 that gains or loses a part.
        lost: The outcomes that became wrong.
        sizes: All outcomes, right or wrong, above 0.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Returns:
        The lower and the upper end, between -1 and 1.

    Raises:
        ValueError: If the shapes differ, there is no unit, a count is impossible, or `confidence`
            is out of range.
    """
    became_right, became_wrong, n = effective_counts(gained, lost, sizes)
    return tango_interval(became_right, became_wrong, n, confidence)


def clustered_mcnemar_one_sided(gained: ArrayLike, lost: ArrayLike, sizes: ArrayLike) -> float:
    """The p-value of "the candidate is worse", whole units being drawn.

    `mcnemar_one_sided` of the counts divided by the design effect. They are no whole numbers, and
    the binomial tail is read off the incomplete beta function (Abramowitz & Stegun, 26.5.24),
    which agrees where they are. With units of one right or wrong outcome it is the exact test.

    Args:
        gained: As in :func:`clustered_tango_interval`.
        lost: The same.
        sizes: The same.

    Raises:
        ValueError: As :func:`clustered_tango_interval`.
    """
    became_right, became_wrong, _ = effective_counts(gained, lost, sizes)
    if became_wrong == 0:
        return 1.0
    return float(special.betainc(became_wrong, became_right + 1, 0.5))


def effective_counts(
    gained: ArrayLike, lost: ArrayLike, sizes: ArrayLike
) -> tuple[float, float, float]:
    """How many independent outcomes those of whole units are worth: gained, lost, and all.

    Args:
        gained: As in :func:`clustered_tango_interval`.
        lost: The same.
        sizes: The same.

    Raises:
        ValueError: As :func:`clustered_tango_interval`.
    """
    gains, losses, totals = (np.asarray(a, dtype=np.float64) for a in (gained, lost, sizes))
    if gains.ndim != 1 or not gains.size or not gains.shape == losses.shape == totals.shape:
        raise ValueError("gained, lost and sizes must all have shape (U,), U being 1 or more")
    if min(gains.min(), losses.min()) < 0 or (gains + losses > totals * (1 + 1e-12)).any():
        raise ValueError("gained and lost must be 0 or more, and together no more than sizes")
    if totals.min() <= 0:
        raise ValueError("sizes must be positive")
    effect = _design_effect(gains, losses, totals)
    became_right, became_wrong, n = (float(a.sum()) / effect for a in (gains, losses, totals))
    return became_right, became_wrong, n


def _design_effect(
    gains: NDArray[np.float64], losses: NDArray[np.float64], totals: NDArray[np.float64]
) -> float:
    units, outcomes = totals.size, float(totals.sum())
    changed, net = float((gains + losses).sum()), float((gains - losses).sum())
    independent = changed - net**2 / outcomes
    if units == 1 or independent <= 1e-12 * outcomes:
        return outcomes / units
    residuals = gains - losses - net / outcomes * totals
    between = float((residuals**2).sum()) * units / (units - 1)
    return max(1.0 if totals.max() > 1 else 1 / units, between / independent)

"""Give a bootstrap interval the width that the number of launches allows.

A two-level bootstrap of few launches is wrong in both directions. It draws five launches as if they
were the population, which is too narrow by sqrt(L / (L - 1)) and by normal for Student; and where
the launches do not differ it counts the spread between rounds twice, once in each level, which is
too wide. A factor that mends one worsens the other. The spread of the launches themselves has
neither fault: each launch is one independent repetition of the whole, rounds included.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

_NORMAL = float(special.ndtri(0.975))
_FEW = math.pi / 2 - 1


def corrected_interval(
    value: float,
    replicates: NDArray[np.float64],
    alone: NDArray[np.float64],
    weights: NDArray[np.float64],
    blocks: int,
    inefficiency: float = 1.0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The interval with the shape of the replicates and the width of Student's t.

    From two launches on, the half-width is t(L - 1) times the standard error that the launches
    show, with the launch as the unit of repetition (Kalibera & Jones, ISMM 2013: the variance
    at the highest level alone sets the interval). It is not less than one standard deviation of the
    replicates (for 95%; for others in proportion to the normal quantile), lest launches that agree
    by chance claim too much. With one launch, the rounds are
    the units: t(B - 1) times the replicates' standard deviation times sqrt(B / (B - 1)).
    How that width is divided below and above the value follows the 2.5% and 97.5% points of the
    replicates, at any confidence: farther points would need far more of them.

    Args:
        value: The estimate.
        replicates: The statistic on each two-level resample, shape (S,).
        alone: The statistic on each launch by itself, shape (L,).
        weights: The share of each launch in the whole, shape (L,), of any positive sum.
        blocks: The number of blocks B, at least 2.
        inefficiency: What the variance of the statistic is, over that of a mean of launches.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Raises:
        ValueError: If `confidence` is out of range.
    """
    require_confidence(confidence)
    lower, upper = (float(end) for end in np.quantile(replicates, [0.025, 0.975]))
    half_length = (upper - lower) / 2
    if half_length == 0:
        return value, value
    deviation = half_length / _NORMAL
    if alone.size == 1:
        half_width = (
            student_t(blocks - 1, confidence) * deviation * math.sqrt(blocks / (blocks - 1))
        )
    else:
        launch_error = launch_standard_error(alone, weights) * math.sqrt(inefficiency)
        least = least_half_width(deviation, confidence)
        half_width = max(student_t(alone.size - 1, confidence) * launch_error, least)
    widening = half_width / half_length
    below = max(value - lower, 0.0)
    above = max(upper - value, 0.0)
    return value - widening * below, value + widening * above


def launch_standard_error(alone: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The standard error of the weighted mean of independent launches of equal variance.

    For equal weights it is s / sqrt(L), s being the sample standard deviation.

    Args:
        alone: The statistic on each launch, shape (L,), L >= 2.
        weights: The weight of each launch, shape (L,), of any positive sum.
    """
    shares = weights / weights.sum()
    spread = float(shares @ (alone - shares @ alone) ** 2)
    concentration = float((shares**2).sum())
    return math.sqrt(spread * concentration / (1 - concentration))


def quantile_inefficiency(
    share_below: NDArray[np.float64], q: float, values: float = math.inf
) -> float:
    """The variance of a pooled quantile over that of the mean of the launches' own quantiles.

    Where launches differ more than their rounds do, the median of all rounds is the median of a
    few launches, which varies more than their mean: by pi / 2 in the limit. For normal launch
    effects that are a share r of the variance, a launch's share of values below the overall median
    has the variance asin(r) / (2 pi) (the median dichotomy of Sheppard, Phil. Trans. A 192 (1899)
    101-167), and dividing by the squared density there gives the factor asin(r) / r. So r is read
    from the shares alone, whatever the distribution. It is 1 where launches do not differ; for
    other quantiles it is an approximation.

    The median of few values also varies less than its limit says: for n normal values its variance
    is close to pi / (2 n + pi - 2), which is exact for n = 1. So the mean of the medians of L
    launches of n values varies less than the median of all n L, by (n + c) / (n + c / L) with c =
    pi / 2 - 1: 1.03 for 20 rounds. This part goes with the share of the variance that is not the
    launches'.

    Args:
        share_below: The share of each launch's values below the quantile of all, shape (L,).
        q: Which quantile, strictly between 0 and 1.
        values: How many values each launch has, on average.
    """
    between = min(float(np.var(share_below, ddof=1)) / (q * (1 - q)), 1.0)
    angle = math.pi * between / 2
    of_launches = angle / math.sin(angle) if angle > 0 else 1.0
    if math.isinf(values):
        return of_launches
    few = (values + _FEW) / (values + _FEW / share_below.size)
    return of_launches * (1 + (few - 1) * (1 - between))


def least_half_width(deviation: float, confidence: float) -> float:
    """One standard deviation for 95%, and for others in proportion to the normal quantile.

    Launches that agree by chance would claim to know more.
    """
    return deviation * float(special.ndtri((1 + confidence) / 2)) / _NORMAL


def student_t(df: int, confidence: float = 0.95) -> float:
    """Student's t that a two-sided interval needs, with `df` >= 1 degrees of freedom."""
    return float(special.stdtrit(df, (1 + confidence) / 2))


def require_confidence(confidence: float) -> None:
    """Raises ValueError where `confidence` does not lie strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")

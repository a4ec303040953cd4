"""The bias-corrected and accelerated interval from bootstrap replicates."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

_TAILS = np.array([0.025, 0.975])


def bca_interval(
    value: float, replicates: NDArray[np.float64], acceleration: float | None
) -> tuple[float, float]:
    """The 95% BCa interval: Efron, JASA 82 (1987) 171-185.

    As in Efron & Tibshirani, An Introduction to the Bootstrap (1993), equations 14.9 to 14.14.

    It falls back to the percentile interval where BCa is not defined: no acceleration, all
    replicates on one side of the value, or adjusted levels out of range. Where an adjusted level
    asks for more than the extreme replicates (as where nearly all of them lie on one side, and both
    levels move to one end), each end is the farther one of the two intervals.

    Args:
        value: The statistic on the sample itself.
        replicates: The statistic on each resample, shape (S,).
        acceleration: From `acceleration_of`.
    """
    levels = _TAILS if acceleration is None else _levels(value, replicates, acceleration)
    low, high = np.quantile(replicates, levels)
    return float(low), float(high)


def acceleration_of(influence: NDArray[np.float64]) -> float | None:
    """The acceleration, a sixth of the skewness of the statistic's influence values.

    Efron & Tibshirani (1993), equation 14.15. With the jackknife, the influence is the mean of the
    leave-one-out statistics less each of them; only its proportions matter. Leaving out blocks of
    examples in place of single ones keeps the expected sums of squares and of cubes.

    Args:
        influence: Shape (K,).

    Returns:
        The acceleration; None where an influence is undefined, or none differs from 0.
    """
    centred = influence - influence.mean()
    scale = float(np.abs(centred).max())
    if not math.isfinite(scale) or scale == 0:
        return None
    centred = centred / scale
    return float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))


def _levels(
    value: float, replicates: NDArray[np.float64], acceleration: float
) -> NDArray[np.float64]:
    below = float(((replicates < value) / 2 + (replicates <= value) / 2).mean())
    if not 0 < below < 1:
        return _TAILS
    bias = float(special.ndtri(below))
    shifted = bias + special.ndtri(_TAILS)
    stretch = 1 - acceleration * shifted
    if (stretch <= 0).any():
        return _TAILS
    levels: NDArray[np.float64] = special.ndtr(bias + shifted / stretch)
    if levels[0] < 1 / replicates.size or levels[1] > 1 - 1 / replicates.size:
        return np.array([min(levels[0], _TAILS[0]), max(levels[1], _TAILS[1])])
    return levels

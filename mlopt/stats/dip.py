"""Hartigan's dip: how far a sample is from having one mode."""

import math

import numpy as np
from numpy.typing import NDArray

_STEPS = 14
"""Halvings of the interval that holds the dip: its error is then below 2e-5."""

_TAILS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
_TABLE = {
    10: (0.309, 0.375, 0.410, 0.439, 0.474, 0.504, 0.522, 0.537),
    20: (0.328, 0.395, 0.434, 0.467, 0.507, 0.533, 0.558, 0.587),
    50: (0.345, 0.416, 0.463, 0.501, 0.545, 0.577, 0.613, 0.645),
    100: (0.356, 0.429, 0.473, 0.511, 0.554, 0.585, 0.618, 0.648),
    200: (0.362, 0.436, 0.476, 0.515, 0.564, 0.607, 0.623, 0.647),
}
"""Of sqrt(n) times the dip, the points that it exceeds with these probabilities, by n."""


def dip(values: NDArray[np.float64]) -> float:
    """The largest distance of the sample's distribution from the nearest one with a single mode.

    Hartigan & Hartigan, The Dip Test of Unimodality, Ann. Statist. 13 (1985) 70-84. Found by
    halving: within a distance d lies a unimodal distribution if, for some sample as its mode, a
    function in the band of that width is convex up to the mode and concave from there on, and the
    first need not be higher at the mode than the second can be.

    Args:
        values: Shape (n,), n >= 1. Memory grows with n squared.

    Returns:
        From 1 / (2 n), for one mode, to 0.25, for two points of equal weight.
    """
    x, counts = np.unique(values, return_counts=True)
    above = np.cumsum(counts) / values.size
    below = above - counts / values.size
    low, high = 1 / (2 * values.size), 0.25
    for _ in range(_STEPS):
        middle = (low + high) / 2
        rising = _least_at_mode(x, above - middle, below + middle)
        falling = _least_at_mode(-x[::-1], 1 - below[::-1] - middle, 1 - above[::-1] + middle)
        if (rising + falling[::-1] <= 1 + 1e-12).any():
            high = middle
        else:
            low = middle
    return high


def _least_at_mode(
    x: NDArray[np.float64], floor: NDArray[np.float64], ceiling: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How low a rising convex function between floor and ceiling can come to each point.

    A line from the ceiling at one point through the floor at a later one is under every such
    function from there on. The function has to heed the floor before a point, not at it.

    Args:
        x: Ascending and distinct, shape (n,).
        floor: Shape (n,).
        ceiling: Shape (n,).

    Returns:
        Shape (n,); infinite where no such function comes to the point below the ceiling.
    """
    run = x[None, :] - x[:, None]
    later = run > 0
    slopes = np.where(later, floor[None, :] - ceiling[:, None], -1.0) / np.where(later, run, 1.0)
    steepest = np.maximum(slopes.max(axis=0), 0.0)
    lines = np.where(later, floor[:, None] + steepest[:, None] * run, -np.inf)
    least: NDArray[np.float64] = np.maximum(lines.max(axis=0), 0.0)
    broken = np.maximum(least, floor) > ceiling + 1e-12
    stuck = np.append(False, np.logical_or.accumulate(broken)[:-1])
    return np.where(stuck | (least > ceiling + 1e-12), np.inf, least)


def dip_p_value(found: float, n: int) -> float:
    """The probability of a dip as large, for n samples of a uniform distribution.

    Among distributions with one mode the uniform one has the largest dips, for large n (Hartigan &
    Hartigan 1985); for a normal one the p-value is far too large. `_TABLE` was simulated, as theirs
    was; between and beyond its points, sqrt(n) times the dip and log p are taken to be linear.

    Args:
        found: The dip.
        n: The number of samples, 10 or more.
    """
    sizes = np.array(list(_TABLE))
    scaled = math.sqrt(n) * found
    at = np.clip(math.sqrt(1 / n), 1 / math.sqrt(sizes[-1]), 1 / math.sqrt(sizes[0]))
    points = np.array(
        [np.interp(-at, -1 / np.sqrt(sizes), row) for row in zip(*_TABLE.values(), strict=True)]
    )
    logs = np.log(_TAILS)
    if scaled > points[-1]:
        slope = (logs[-1] - logs[-3]) / (points[-1] - points[-3])
        return float(np.exp(logs[-1] + slope * (scaled - points[-1])))
    return float(np.exp(np.interp(scaled, points, logs, left=0.0)))

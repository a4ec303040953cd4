"""The interval of a median over rounds, read off the share of each launch's rounds that lie below.

Neighbours on the same machine make some launches restless and leave others alone. The medians of
the restless ones are far off, and the spread of the launches' medians is theirs; but the median
of all rounds hardly hears them, for few of their rounds lie close to it. The share of rounds below
a point has the same scatter in either kind: it knows signs, not distances. In simulation, of 9
launches with 48 rounds that scatter by 3% in the median launch and by factors of 2 about it, nominal 95%
intervals from the launches' medians hold the truth in 98% and reach 0.56% to each side; those from
shares hold it in 95% and reach 0.32%.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mlopt.stats.small_sample import launch_standard_error, least_half_width, student_t

_LEAST_LAUNCHES = 3
_MOST_BETWEEN = 0.25
_FARTHEST = 0.3


def shares_below(
    values: NDArray[np.float64], launch: NDArray[np.int64], point: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The share of each launch's values below a point, one that is equal to it counting half.

    Args:
        values: Shape (N,).
        launch: The launch of each, shape (N,).
        point: In the unit of the values.

    Returns:
        The shares and the number of values of each launch, in ascending order of their numbers,
        each of shape (L,).
    """
    _, index = np.unique(launch, return_inverse=True)
    below = (values < point) / 2 + (values <= point) / 2
    sizes = np.bincount(index)
    return np.bincount(index, weights=below) / sizes, sizes


def between_launches(shares: NDArray[np.float64], sizes: NDArray[np.int64]) -> float:
    """The part of the variance of a sign that is between launches: 0 where these agree, at most 1.

    What the values themselves scatter, 1 / (4 n) in the share of n of them, is taken off.

    Args:
        shares: Of each launch's values below the median of all, shape (L,), L >= 2.
        sizes: The number of its values, shape (L,).
    """
    weights = sizes / sizes.sum()
    spread = 4 * float(weights @ (shares - weights @ shares) ** 2)
    own = (sizes.size - 1) / float(sizes.sum())
    return min(max((spread - own) / (1 - float(weights @ weights)), 0.0), 1.0)


def median_interval(
    values: NDArray[np.float64], launch: NDArray[np.int64], confidence: float = 0.95
) -> tuple[float, float] | None:
    """The interval of the median of all values, launches being what is repeated.

    The share of values below the true median is 1/2; the standard error of the share that is seen
    is that of the mean of the launches' shares, and Student's t with L - 1 degrees of freedom says how
    far from 1/2 it may be. The values at these two ranks are the interval (Woodruff, J. Am. Statist.
    Assoc. 47 (1952) 635-646; for clusters: Francisco & Fuller, Ann. Statist. 19 (1991) 454-469),
    interpolated between neighbours. Like that of the launches' medians (`corrected_interval`), it is
    not narrower than one standard deviation of independent values, for 95%, lest launches that
    agree by chance claim too much.

    Args:
        values: One for each round, independent between launches, shape (B,).
        launch: The launch of each, shape (B,).
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Returns:
        The ends; None where shares say little: with one launch or two, where more than a quarter of
        a sign's variance is between launches, and where an end would lie in the outer fifths of the
        values, which tell of the tails rather than of the median.
    """
    shares, sizes = shares_below(values, launch, float(np.median(values)))
    if shares.size < _LEAST_LAUNCHES or between_launches(shares, sizes) > _MOST_BETWEEN:
        return None
    error = launch_standard_error(shares, sizes.astype(np.float64))
    least = least_half_width(1 / (2 * math.sqrt(values.size)), confidence)
    reach = max(student_t(shares.size - 1, confidence) * error, least)
    if reach > _FARTHEST:
        return None
    ranks = (values.size - 1) / 2 + np.array([-reach, reach]) * values.size
    ends = np.interp(ranks, np.arange(values.size), np.sort(values))
    low, high = map(float, ends)
    return low, high

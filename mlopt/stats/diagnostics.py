"""Signs, in the medians of the rounds, that there was no one level to measure.

The p-values of `drift` and `random_walk` are those of independent rounds with any distribution, so
that p < 0.01 is seen in 1% of quiet measurements; those of `modes` are far too large for any
distribution but a uniform one, so that it is seen in next to none. A report warns at p < 0.001 and
only of what is large enough to matter: how often, is in `benchmarks/interval_coverage.md`.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlopt.stats.dip import dip, dip_p_value
from mlopt.stats.rounds import Rounds

_LEAST_PER_LAUNCH = 5
_LEAST_ROUNDS = 10
_MOST_PER_LAUNCH = 500
_MOST_ROUNDS = 300
"""More rounds than these are thinned out evenly: the tests compare all pairs, or sort hulls."""


class Drift(NamedTuple):
    """A trend over the rounds.

    Attributes:
        change: Relative change from the first to the last round of a launch, by the fitted line.
        p_value: Two-sided, of there being none.
    """

    change: float
    p_value: float


class RandomWalk(NamedTuple):
    """A level that wanders.

    Attributes:
        variance_ratio: About 1 where rounds are independent, near 0 for a random walk.
        p_value: Of rounds being independent, against neighbours being alike.
    """

    variance_ratio: float
    p_value: float


class Modes(NamedTuple):
    """Two levels between which rounds change.

    Attributes:
        low: The lower level, in the unit of the samples.
        high: The higher level.
        share_low: The share of the rounds at the lower one.
        p_value: Of there being one level.
    """

    low: float
    high: float
    share_low: float
    p_value: float


def drift(rounds: Rounds) -> Drift | None:
    """A trend over the rounds of a launch, from the logarithms of the blocks' medians.

    The test is Mann's and Kendall's with the launches as seasons, so that a launch's own level
    does not matter (Hirsch, Slack & Smith, Water Resources Research 18 (1982) 107-121), the line
    is the median of the slopes of all pairs inside the launches (Sen, J. Am. Statist. Assoc. 63
    (1968) 1379-1389): outliers move neither. It takes rounds to be independent of each other.

    Returns:
        None where there are fewer than 10 rounds, in launches of at least 5.

    Raises:
        ValueError: If a median is not positive.
    """
    series = _series(rounds)
    if not series:
        return None
    score, variance = 0.0, 0.0
    for levels in series:
        i, j = np.triu_indices(levels.size, 1)
        score += float(np.sign(levels[j] - levels[i]).sum())
        variance += _score_variance(levels)
    # The score moves in steps of two: the continuity correction is one.
    z = max(abs(score) - 1, 0) / math.sqrt(variance) if variance else 0.0
    last = max(levels.size for levels in series) - 1
    return Drift(math.expm1(_slope(series) * last), 2 * float(special.ndtr(-z)))


def random_walk(rounds: Rounds) -> RandomWalk | None:
    """Whether the level of the machine wanders, so that there is none to be estimated.

    Von Neumann's ratio of the ranks, the mean square of the differences between neighbours over
    the variance (Bartels, J. Am. Statist. Assoc. 77 (1982) 40-46), here over 2 and averaged over the
    launches, of the logarithms of the blocks' medians less the common line of `drift`. It is 1 for
    independent rounds, and about 3 / n in a launch of n rounds of a pure random walk.

    Returns:
        None where there are fewer than 10 rounds, in launches of at least 5.

    Raises:
        ValueError: If a median is not positive.
    """
    series = _series(rounds)
    if not series:
        return None
    slope = _slope(series)
    weighted, variance, total = 0.0, 0.0, 0
    for levels in series:
        n = levels.size
        ranks = _ranks(levels - slope * np.arange(n))
        spread = float(((ranks - ranks.mean()) ** 2).sum())
        ratio = float((np.diff(ranks) ** 2).sum()) / spread / 2 if spread else 1.0
        weighted += n * ratio
        variance += n**2 * (n - 2) * (5 * n**2 - 2 * n - 9) / (5 * n * (n + 1) * (n - 1) ** 2)
        total += n
    p_value = float(special.ndtr((weighted - total) / math.sqrt(variance)))
    return RandomWalk(weighted / total, p_value)


def modes(rounds: Rounds) -> Modes | None:
    """Whether rounds change between two levels.

    The p-value is that of the dip (`mlopt.stats.dip`) of the logarithms of the blocks' medians less
    the middle of the shortest half of their launch (Rousseeuw, J. Am. Statist. Assoc. 79 (1984)
    871-880), which lies in one of two modes and not between them: launches that differ are not
    modes. A mode with less than about 15% of 100 rounds is not found. The two levels are the medians
    on either side of the cut that leaves the least variance (Fisher, J. Am. Statist. Assoc. 53
    (1958) 789-798); they mean something only where the p-value is small.

    Returns:
        None where there are fewer than 10 rounds, in launches of at least 5.

    Raises:
        ValueError: If a median is not positive.
    """
    series = _series(rounds)
    if not series:
        return None
    centred = np.concatenate([levels - _densest(levels) for levels in series])
    levels = np.sort(np.concatenate(series))
    cut = _least_variance_cut(levels)
    low, high = (float(np.exp(np.median(part))) for part in (levels[:cut], levels[cut:]))
    thinned = _thinned(centred, _MOST_ROUNDS)
    return Modes(low, high, cut / levels.size, dip_p_value(dip(thinned), thinned.size))


def _series(rounds: Rounds) -> list[NDArray[np.float64]]:
    """The logarithms of the medians of the blocks of each launch; none if they are too few."""
    keys, medians = rounds.block_medians()
    if (medians <= 0).any():
        raise ValueError("the medians of the rounds must be positive")
    levels = np.log(medians)
    parts = [levels[keys[:, 0] == launch] for launch in np.unique(keys[:, 0])]
    parts = [_thinned(part, _MOST_PER_LAUNCH) for part in parts if part.size >= _LEAST_PER_LAUNCH]
    return parts if sum(part.size for part in parts) >= _LEAST_ROUNDS else []


def _thinned(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    return values[:: -(-values.size // most)]


def _slope(series: list[NDArray[np.float64]]) -> float:
    slopes = []
    for levels in series:
        i, j = np.triu_indices(levels.size, 1)
        slopes.append((levels[j] - levels[i]) / (j - i))
    return float(np.median(np.concatenate(slopes)))


def _score_variance(levels: NDArray[np.float64]) -> float:
    """The variance of Kendall's score; the second term is for ties."""
    _, ties = np.unique(levels, return_counts=True)
    n = levels.size
    tied = float((ties * (ties - 1) * (2 * ties + 5)).sum())
    return (n * (n - 1) * (2 * n + 5) - tied) / 18


def _densest(values: NDArray[np.float64]) -> float:
    """The middle of the shortest interval that holds half of the values."""
    ordered = np.sort(values)
    half = (ordered.size + 1) // 2
    widths = ordered[half - 1 :] - ordered[: ordered.size - half + 1]
    start = int(np.argmin(widths))
    return float(ordered[start] + ordered[start + half - 1]) / 2


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, equal values sharing the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[index]
    return ranks


def _least_variance_cut(ordered: NDArray[np.float64]) -> int:
    """How many of the ascending values, at least one and not all, form the lower part."""
    n = ordered.size
    size = np.arange(1, n)
    below = np.cumsum(ordered - ordered.mean())[:-1]
    return int(np.argmax(below**2 / (size * (n - size)))) + 1

"""How many independent samples autocorrelated ones are worth."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlopt.stats.rounds import Rounds

_LEVEL = 0.05


def effective_samples(rounds: Rounds, q: float) -> float:
    """The number of independent samples that say as much about the q-quantile.

    n / design effect (Kish, Survey Sampling, 1965, section 5.4). What decides the error of a
    quantile is the share of the samples above it, so the design effect is that of the
    exceedance indicator: the variance of the share, with whole rounds as the units that are drawn,
    over the variance p (1 - p) / n that it would have for independent samples (Woodruff, J. Am.
    Statist. Assoc. 47 (1952) 635-646). Slow samples that come in bursts thus count once. The mean
    square between launches takes the place of that between rounds where an F test at 5% finds that
    launches differ, and the samples count as independent where the index of dispersion of the
    rounds is not above its 95% point (preliminary tests of significance: Bancroft, Ann. Math.
    Statist. 15 (1944) 190-204): a handful of slow samples would else seem dependent by chance.

    Args:
        rounds: The samples.
        q: Strictly between 0 and 1.

    Returns:
        Between 0 and the number of samples. One block alone, or samples of which none exceeds
        the quantile, tell nothing of their dependence: then 1 for each block.

    Raises:
        ValueError: If `q` is not strictly between 0 and 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"q must lie strictly between 0 and 1, got {q}")
    cut = np.quantile(rounds.values, q, method="averaged_inverted_cdf")
    over = (rounds.values > cut).astype(np.float64)
    return effective_of_blocks(
        np.bincount(rounds.block_index, weights=over).astype(np.float64),
        np.bincount(rounds.block_index).astype(np.float64),
        rounds.block_keys[:, 0],
    )


def effective_of_blocks(
    over: NDArray[np.float64], sizes: NDArray[np.float64], launch: NDArray[np.int64]
) -> float:
    """`effective_samples` from how many samples of each block lie above the quantile.

    Args:
        over: The samples of each block that do, shape (B,).
        sizes: The samples of each block, shape (B,).
        launch: The launch of each block, shape (B,).
    """
    n, blocks = float(sizes.sum()), over.size
    share = float(over.sum()) / n
    if blocks == 1 or not 0 < share < 1:
        return float(blocks)
    effect = _mean_square(over - share * sizes, sizes, launch) / (share * (1 - share))
    by_chance = float(special.chdtri(blocks - 1, _LEVEL)) / (blocks - 1)
    return n / effect if effect > max(by_chance, 1.0) else n


def _mean_square(
    residuals: NDArray[np.float64], sizes: NDArray[np.float64], launch: NDArray[np.int64]
) -> float:
    """The variance of one sample's share of the error of the sum, between rounds or launches.

    Args:
        residuals: The exceedances of each block less what its size lets expect, shape (B,).
        sizes: The samples of each block, shape (B,).
        launch: The launch of each block, shape (B,).
    """
    n, blocks = float(sizes.sum()), residuals.size
    names, index = np.unique(launch, return_inverse=True)
    launches = names.size
    between_rounds = float((residuals**2).sum()) / n * blocks / (blocks - 1)
    if launches in (1, blocks):
        return between_rounds
    sums, totals = np.bincount(index, weights=residuals), np.bincount(index, weights=sizes)
    between = float((sums**2 / totals).sum()) / (launches - 1)
    within = float(((residuals - (sums / totals)[index] * sizes) ** 2 / sizes).sum())
    within /= blocks - launches
    differ = float(special.fdtri(launches - 1, blocks - launches, 1 - _LEVEL))
    return between if between > differ * within else between_rounds

"""Draw whole blocks in two levels, and read a quantile off every draw at once."""

import math

import numpy as np
from numpy.typing import NDArray

_MAX_CELLS = 500_000
"""Largest temporary array, in elements, that the quantiles of many draws may need."""


def block_multiplicities(
    launch_of_block: NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """How often each block is drawn in a two-level bootstrap.

    Launches are drawn with replacement, then, for each time that a launch is drawn, as many of its
    rounds as it has, with replacement: Davison & Hinkley, Bootstrap Methods and their Application
    (1997), section 3.8; Kalibera & Jones, Rigorous Benchmarking in Reasonable Time (ISMM 2013).
    With a single launch, rounds alone are drawn.

    Args:
        launch_of_block: The launch of each block, shape (B,).
        resamples: The number of draws S.
        rng: The source of randomness.

    Returns:
        Integers of shape (S, B).
    """
    launches, index = np.unique(launch_of_block, return_inverse=True)
    drawn = rng.multinomial(len(launches), np.full(len(launches), 1 / len(launches)), resamples)
    counts = np.zeros((resamples, launch_of_block.size), dtype=np.int64)
    for position in range(len(launches)):
        members = np.flatnonzero(index == position)
        shares = np.full(members.size, 1 / members.size)
        counts[:, members] = rng.multinomial(drawn[:, position] * members.size, shares)
    return counts


class PooledSamples:
    """Samples sorted once, so that the quantile of any mixture of their blocks is quick to read.

    Counts per block are kept for about sqrt(N) runs of the sorted samples. A matrix product finds
    the run that holds the wanted rank, and only that run is searched.
    """

    def __init__(self, values: NDArray[np.float64], block: NDArray[np.int64], blocks: int) -> None:
        """Sort the samples.

        Args:
            values: The samples, shape (N,).
            block: The block of each sample, shape (N,), from 0 to `blocks` - 1.
            blocks: The number of blocks B.
        """
        order = np.argsort(values, kind="stable")
        self._run = math.isqrt(values.size - 1) + 1
        runs = -(-values.size // self._run)
        padding = runs * self._run - values.size
        self._values = np.pad(values[order], (0, padding), mode="edge")
        self._block = np.pad(block[order], (0, padding), mode="edge")
        run_of_sample = np.arange(values.size) // self._run
        per_run = np.bincount(block[order] * runs + run_of_sample, minlength=blocks * runs)
        self._cumulative = per_run.reshape(blocks, runs).cumsum(axis=1).astype(np.float64)

    def quantiles(self, multiplicities: NDArray[np.int64], q: float) -> NDArray[np.float64]:
        """The q-quantile of each mixture in which block b counts `multiplicities[s, b]` times.

        It is the inverse of the empirical distribution, averaged at a jump (type 2 of Hyndman &
        Fan, 1996; `method="averaged_inverted_cdf"` of numpy), so that q = 0.5 is the median.

        Args:
            multiplicities: Integers of shape (S, B); no row is all zero.
            q: Between 0 and 1.

        Returns:
            The quantiles, shape (S,).
        """
        chunk = max(1, _MAX_CELLS // max(self._run, self._cumulative.shape[1]))
        parts = [
            self._quantiles(multiplicities[start : start + chunk], q)
            for start in range(0, len(multiplicities), chunk)
        ]
        return np.concatenate(parts)

    def _quantiles(self, multiplicities: NDArray[np.int64], q: float) -> NDArray[np.float64]:
        cumulative = multiplicities.astype(np.float64) @ self._cumulative
        total = cumulative[:, -1]
        slack = 1e-9 * total
        lower = np.clip(np.ceil(q * total - slack), 1, total)
        upper = np.clip(np.floor(q * total + slack) + 1, 1, total)
        found = self._at_rank(multiplicities, cumulative, lower)
        jump = np.flatnonzero(upper > lower)
        if jump.size:
            above = self._at_rank(multiplicities[jump], cumulative[jump], upper[jump])
            found[jump] = (found[jump] + above) / 2
        return found

    def _at_rank(
        self,
        multiplicities: NDArray[np.int64],
        cumulative: NDArray[np.float64],
        rank: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        rows = np.arange(rank.size)
        run = (cumulative < rank[:, None]).sum(axis=1)
        before = np.where(run > 0, cumulative[rows, run - 1], 0.0)
        positions = run[:, None] * self._run + np.arange(self._run)
        within = multiplicities[rows[:, None], self._block[positions]].cumsum(axis=1)
        offset = (within < (rank - before)[:, None]).sum(axis=1)
        found: NDArray[np.float64] = self._values[run * self._run + offset]
        return found

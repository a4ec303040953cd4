"""Raw latencies of one candidate and workload: 8 bytes each, and 32 for each block of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlopt import stats
from mlopt.store.arrays import read_arrays, write_array
from mlopt.types.tensors import ArrayRef

_ENOUGH = 20_000
"""Samples that a quantile is read from where its own error does not matter."""


class Samples:
    """Samples in the order they were taken, in blocks: one visit in one round of one launch."""

    def __init__(self) -> None:
        """Begins with none."""
        self._ns = array("q")
        self._blocks = array("q")
        self._medians = array("d")

    def __len__(self) -> int:
        return len(self._ns)

    def add(self, launch: int, round_number: int, ns: Sequence[int]) -> None:
        """Appends a block.

        Args:
            launch: Number of the launch.
            round_number: Number of the round within the launch.
            ns: Latencies in nanoseconds, in their order.
        """
        self._ns.extend(ns)
        self._blocks.extend((launch, round_number, len(ns)))
        self._medians.append(float(np.median(ns)))

    @property
    def ns(self) -> NDArray[np.int64]:
        """The latencies in nanoseconds, shape (N,); a copy."""
        return np.array(self._ns, dtype=np.int64)

    @property
    def blocks(self) -> NDArray[np.int64]:
        """Launch, round and number of samples of each block, shape (B, 3)."""
        return np.array(self._blocks, dtype=np.int64).reshape(-1, 3)

    @property
    def block_size(self) -> int:
        """Samples in the first block; 0 when there is none."""
        return self._blocks[2] if self._blocks else 0

    @property
    def launches(self) -> list[int]:
        """The numbers of the launches, in their order."""
        return list(dict.fromkeys(self._blocks[::3]))

    def of_launch(self, launch: int) -> NDArray[np.int64]:
        """The latencies of one launch, in nanoseconds."""
        found = array("q")
        for number, block in self._by_block():
            if number == launch:
                found.extend(block)
        return np.array(found, dtype=np.int64)

    def effective(self, q: float) -> float:
        """About how many independent samples these are worth, for the q-quantile.

        As :func:`mlopt.stats.effective_samples`, without a second copy of the samples.
        """
        cut = float(np.quantile(self._ns[:: len(self) // _ENOUGH + 1], q))
        over = [sum(ns > cut for ns in block) for _, block in self._by_block()]
        launch, _, count = self.blocks.T
        return stats.effective_of_blocks(
            np.array(over, dtype=np.float64), count.astype(np.float64), launch
        )

    def _by_block(self) -> Iterator[tuple[int, array[int]]]:
        """The launch and the samples of each block."""
        start = 0
        for i in range(0, len(self._blocks), 3):
            count = self._blocks[i + 2]
            yield self._blocks[i], self._ns[start : start + count]
            start += count

    def rounds(self) -> stats.Rounds:
        """Every sample with its launch and round, in milliseconds."""
        launch, number, count = self.blocks.T
        return stats.Rounds(
            values=self.ns / 1e6, launch=np.repeat(launch, count), round=np.repeat(number, count)
        )

    def block_medians(self) -> stats.Rounds:
        """The median of each block, in milliseconds: all that the paired ratio needs."""
        launch, number, _ = self.blocks.T
        return stats.Rounds(values=np.array(self._medians) / 1e6, launch=launch, round=number)

    def write(self, run_dir: Path, path: str) -> ArrayRef:
        """Stores the samples as ``ns`` and ``blocks``.

        Args:
            run_dir: Directory of the run.
            path: Below it; ends in ``.npz``.
        """
        return write_array(run_dir, path, ns=self.ns, blocks=self.blocks)

    @classmethod
    def read(cls, run_dir: Path, reference: ArrayRef) -> Samples:
        """Reads what :meth:`write` wrote, or the rows of (ns, launch, round) that older runs have.

        Raises:
            OSError: The file is not there.
            ValueError: It is damaged.
        """
        arrays = read_arrays(run_dir, reference)
        if "ns" in arrays:
            return cls.of(arrays["ns"], arrays["blocks"])
        rows = arrays["samples"]
        ends = np.flatnonzero((np.diff(rows[:, 1:], axis=0) != 0).any(axis=1)) + 1
        starts = np.concatenate([[0], ends])
        counts = np.diff(np.append(starts, len(rows)))
        return cls.of(rows[:, 0], np.column_stack([rows[starts, 1:], counts]))

    @classmethod
    def of(cls, ns: NDArray[np.int64], blocks: NDArray[np.int64]) -> Samples:
        """Samples from the arrays that :attr:`ns` and :attr:`blocks` give.

        Raises:
            ValueError: The blocks do not hold as many samples as there are.
        """
        if blocks.ndim != 2 or blocks.shape[1] != 3 or blocks[:, 2].sum() != len(ns):
            raise ValueError(f"{len(ns)} samples do not fit blocks of shape {blocks.shape}")
        found = cls()
        start = 0
        for launch, number, count in blocks.tolist():
            found.add(launch, number, ns[start : start + count].tolist())
            start += count
        return found

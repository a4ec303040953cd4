"""Latency samples with the launch and the round that each was taken in."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Rounds:
    """Samples of one candidate, in blocks: one block for each round of each launch.

    Attributes:
        values: The samples, float64 of shape (N,), in any one unit.
        launch: The launch of each sample, integers of shape (N,).
        round: The round of each sample, integers of shape (N,), numbered within its launch.

    Raises:
        ValueError: If a shape differs, there is no sample, a value is not finite, or a launch or
            round is not an integer.
    """

    values: NDArray[np.float64]
    launch: NDArray[np.int64]
    round: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check the arrays and settle their types."""
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"values must have shape (N,) with N >= 1, got {values.shape}")
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise ValueError(f"values must be finite, got {count} that are not")
        object.__setattr__(self, "values", values)
        for name in ("launch", "round"):
            index = np.asarray(getattr(self, name))
            if index.shape != values.shape:
                raise ValueError(f"{name} must have shape {values.shape}, got {index.shape}")
            if not np.issubdtype(index.dtype, np.integer):
                raise ValueError(f"{name} must hold integers, got {index.dtype}")
            object.__setattr__(self, name, index.astype(np.int64))

    @property
    def n(self) -> int:
        """The number of samples."""
        return int(self.values.size)

    @property
    def blocks(self) -> int:
        """The number of blocks: rounds, summed over the launches."""
        return len(self.block_keys)

    @property
    def launches(self) -> int:
        """The number of launches."""
        return int(np.unique(self.block_keys[:, 0]).size)

    @property
    def block_keys(self) -> NDArray[np.int64]:
        """The (launch, round) of each block, shape (B, 2), in ascending order."""
        return self._grouped[0]

    @property
    def block_index(self) -> NDArray[np.int64]:
        """The row of `block_keys` that each sample belongs to, shape (N,)."""
        return self._grouped[1]

    def block_medians(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The median of each block: `block_keys` of shape (B, 2), and medians of shape (B,)."""
        order = np.lexsort((self.values, self.block_index))
        ordered = self.values[order]
        sizes = np.bincount(self.block_index, minlength=self.blocks)
        starts = np.cumsum(sizes) - sizes
        medians = (ordered[starts + (sizes - 1) // 2] + ordered[starts + sizes // 2]) / 2
        return self.block_keys, medians

    def select(self, keep: NDArray[np.bool_]) -> "Rounds":
        """The samples of the blocks that `keep`, of shape (B,), marks.

        Raises:
            ValueError: If no block is kept.
        """
        chosen = keep[self.block_index]
        return Rounds(self.values[chosen], self.launch[chosen], self.round[chosen])

    @cached_property
    def _grouped(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.lexsort((self.round, self.launch))
        pairs = np.stack([self.launch[order], self.round[order]], axis=1)
        first = np.append(True, (np.diff(pairs, axis=0) != 0).any(axis=1))
        index = np.empty(self.n, dtype=np.int64)
        index[order] = np.cumsum(first) - 1
        return pairs[first], index

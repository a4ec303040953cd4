"""What is resampled: single examples, or groups of examples that belong together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Units:
    """Examples in the order of their units.

    Attributes:
        order: The examples, unit after unit, shape (n,).
        starts: Where in `order` each unit begins, shape (U,).
        sizes: How many examples each unit has, shape (U,).
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, n: int, groups: ArrayLike | None) -> "Units":
        """The units of n examples: the distinct `groups`, of shape (n,), or each example itself.

        Raises:
            ValueError: If n is not positive or `groups` has another shape.
        """
        if n < 1:
            raise ValueError(f"there must be at least one example, got {n}")
        if groups is None:
            index = np.arange(n)
        else:
            labels = np.asarray(groups)
            if labels.shape != (n,):
                raise ValueError(f"groups must have shape ({n},), got {labels.shape}")
            index = np.unique(labels, return_inverse=True)[1]
        sizes = np.bincount(index).astype(np.int64)
        return cls(np.argsort(index, kind="stable"), np.cumsum(sizes) - sizes, sizes)

    @property
    def count(self) -> int:
        """The number of units U."""
        return int(self.sizes.size)

    def examples(self, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """The examples of the units drawn, of shape (k,), as often as each was drawn."""
        sizes = self.sizes[drawn]
        ends = np.cumsum(sizes)
        within = np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes)
        examples: NDArray[np.int64] = self.order[np.repeat(self.starts[drawn], sizes) + within]
        return examples

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over each unit of `values`, of shape (n,); the result has shape (U,)."""
        sums: NDArray[np.float64] = np.add.reduceat(values[self.order], self.starts)
        return sums

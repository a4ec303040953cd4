"""Several tests at once."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted so that the chance of any false alarm among them stays at the level asked.

    The step-down method of Holm, Scandinavian Journal of Statistics 6 (1979) 65-70: the k-th
    smallest of m is multiplied by m - k + 1, and none is less than the one before it. It holds
    whatever the dependence between the tests.

    Args:
        p_values: Each from 0 to 1, in any order.

    Returns:
        The adjusted values, in the order given, at most 1.

    Raises:
        ValueError: If one does not lie between 0 and 1.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"p-values must lie between 0 and 1, got {list(p_values)}")
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * np.arange(raw.size, 0, -1)
    adjusted = np.empty(raw.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(float(p) for p in adjusted)

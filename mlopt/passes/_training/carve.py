"""The validation part: carved from the training split, and never trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Parts(NamedTuple):
    """Rows of the training split, in ascending order."""

    training: Array
    validation: Array


def carve(hashes: Array, targets: Array | None, fraction: float, seed: int) -> Parts:
    """Sets a share of the examples aside for validation.

    The examples are put in the order of their targets, at random among equal ones, and one is taken
    in every 1 / ``fraction``: each class, or each range of a regression, gives its share to within
    one example. Exact duplicates stay together on one side, with the targets of the first of them.

    Args:
        hashes: Equal for examples with equal inputs, shape (N,).
        targets: Shape (N,) or, where nothing is known to stratify by, any other or None.
        fraction: Of the distinct examples; 0 sets none aside.
        seed: Which they are.
    """
    import numpy as np

    rows = np.arange(len(hashes))
    _, first, group = np.unique(_comparable(hashes), axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    wanted = min(max(1, round(fraction * len(first))), len(first) - 1) if fraction > 0 else 0
    if wanted <= 0:
        return Parts(rows, rows[:0])
    random = np.random.default_rng(seed)
    order = random.permutation(len(first))
    if targets is not None and targets.size == len(targets):
        order = order[np.argsort(targets.reshape(-1)[first][order], kind="stable")]
    step = len(first) / wanted
    chosen = order[((np.arange(wanted) + random.random()) * step).astype(int)]
    aside = np.isin(group, chosen)
    return Parts(rows[~aside], rows[aside])


def _comparable(hashes: Array) -> Array:
    """Hashes as rows of bytes, shape (N, bytes), which numpy can sort."""
    import numpy as np

    whole = np.ascontiguousarray(hashes)
    return whole.view(np.uint8).reshape(len(whole), whole.dtype.itemsize)

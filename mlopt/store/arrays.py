"""Arrays that a run keeps, each in a file that is referred to by its hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.store.hashing import sha256_file
from mlopt.types.tensors import ArrayRef


def write_array(base: Path, relative: str, **arrays: np.ndarray[Any, Any]) -> ArrayRef:
    """Writes arrays as one compressed npz, and refers to the first of them.

    Args:
        base: Directory that the reference is relative to.
        relative: Path of the file below ``base``; ends in ``.npz``.
        arrays: By name.
    """
    path = base / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.npz")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]  # numpy types allow_pickle first
    temporary.replace(path)
    first = next(iter(arrays.values()))
    return ArrayRef(
        path=relative, sha256=sha256_file(path), dtype=str(first.dtype), shape=first.shape
    )


def read_arrays(base: Path, reference: ArrayRef) -> Mapping[str, np.ndarray[Any, Any]]:
    """Reads all arrays of a file that :func:`write_array` wrote."""
    with np.load(base / reference.path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}

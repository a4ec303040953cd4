"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.store.hashing import sha256_file
from mlopt.types.tensors import ArrayRef


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replaces ``path`` by ``content`` in one step."""
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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

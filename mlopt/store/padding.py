"""Examples of several lengths in arrays of one: padded where stored, cut where read.

Texts have several lengths, and a column of a snapshot has one. What pads them, an input called
``attention_mask`` says with a 0. A batch is read without the columns that pad all of it, so that a
short text costs what it costs in production, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlopt.types.task import ATTENTION_MASK

if TYPE_CHECKING:
    from mlopt.types.tensors import TensorSpec

Array = np.ndarray[Any, Any]

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Padding:
    """Which columns of a snapshot are padded.

    Attributes:
        mask: The input of shape (N, T) that is 0 where an example is padded.
        columns: The inputs of shape (N, T, ...) that have the same length, the mask among them.
        fill: What they are filled up with, where that is not 0.
    """

    mask: str
    columns: tuple[str, ...]
    fill: dict[str, int] = field(default_factory=dict)


def padding_of(
    specs: Sequence[TensorSpec], fill: Mapping[str, int] | None = None
) -> Padding | None:
    """How examples with these inputs are padded; None where none has a length of its own.

    Args:
        specs: The inputs. The mask is an integer one called ``attention_mask``, whose second axis
            is dynamic; all inputs that have this axis second are as long as it.
        fill: What an input is filled up with; default 0.
    """
    mask = next((spec for spec in specs if spec.name == ATTENTION_MASK), None)
    if mask is None or len(mask.shape) != 2 or "int" not in mask.dtype:
        return None
    length = mask.shape[1]
    if not isinstance(length, str):
        return None
    columns = tuple(spec.name for spec in specs if spec.shape[1:2] == (length,))
    own = {name: value for name, value in (fill or {}).items() if name in columns and value != 0}
    return Padding(mask=ATTENTION_MASK, columns=columns, fill=own)


def kept_length(mask: Array) -> int:
    """The length of the longest example.

    Args:
        mask: Shape (n, T).

    Returns:
        1 to T: behind it, all examples are padded.
    """
    kept = np.flatnonzero(mask.any(axis=0))
    return int(kept[-1]) + 1 if len(kept) else 1


def lengthened(array: Array, length: int, fill: int) -> Array:
    """``array``, shape (n, T, ...), with its second axis filled up to ``length``."""
    more = length - array.shape[1]
    if more <= 0:
        return array
    widths = [(0, 0), (0, more)] + [(0, 0)] * (array.ndim - 2)
    padded: Array = np.pad(array, widths, constant_values=fill)
    return padded


def lengthen_file(path: Path, dtype: str, shape: tuple[int, ...], length: int, fill: int) -> None:
    """Rewrites a column of ``shape`` (N, T, ...) on disk with a second axis of ``length``."""
    old = np.memmap(path, dtype, mode="r", shape=shape)
    wider = path.with_suffix(".wider")
    with wider.open("wb") as file:
        for start in range(0, len(old), ROWS_AT_ONCE):
            rows = np.asarray(old[start : start + ROWS_AT_ONCE])
            file.write(lengthened(rows, length, fill).tobytes())
    del old
    wider.replace(path)

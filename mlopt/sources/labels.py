"""Labels as people write them, and as models count them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlopt.errors import DataError, did_you_mean
from mlopt.sources.data import Batch

if TYPE_CHECKING:
    import numpy as np

LABEL = "label"


def labels_of(config: Any) -> dict[str, int]:
    """Class numbers by name, as a configuration of transformers states them."""
    names = getattr(config, "id2label", None) or {}
    return {str(name): int(number) for number, name in names.items()}


def place_of(batch: Batch, row: int, where: str) -> str:
    """Where an example of a batch comes from, for messages: file and line where it has them."""
    return batch.rows[row] if batch.rows else f"{where}, row {row}"


def label_numbers(
    values: Sequence[Any], known: Mapping[str, int], batch: Batch, where: str
) -> np.ndarray[Any, Any]:
    """Class numbers of labels.

    Args:
        values: Numbers, which stay as they are, or names. Names that are numbers written out, as
            in a CSV file, are taken as class numbers where the model's own names are words.
        known: Class numbers by name.
        batch: That they belong to.
        where: Its place, for messages.

    Raises:
        DataError: A name is not among the known.
    """
    import numpy as np

    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array.astype(np.int64) if array.dtype.kind in "biu" else array
    if _are_numbers(values, known):
        return np.array([int(value) for value in values], np.int64)
    return np.array(
        [label_number(value, known, place_of(batch, i, where)) for i, value in enumerate(values)],
        np.int64,
    )


def _are_numbers(values: Sequence[Any], known: Mapping[str, int]) -> bool:
    """Whether texts can only be class numbers.

    Where a model calls a class by a number ("1" to "5" stars), they are names, and nothing else:
    one batch must not be read as numbers because it happens to hold none of the names.
    """
    return not any(name.isdecimal() for name in known) and all(
        isinstance(value, str) and value.strip().isdecimal() for value in values
    )


def label_number(value: Any, known: Mapping[str, int], where: str) -> int:
    """The class number of one label.

    Raises:
        DataError: It is neither a whole number nor among the known.
    """
    if isinstance(value, str) and value in known:
        return known[value]
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        shown = str(value)[:80]
        raise DataError(
            f"{where}: the model has no label {shown!r}. {did_you_mean(shown, known)} They are "
            "'id2label' in its config.json."
        )
    return int(value)

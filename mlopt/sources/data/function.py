"""A function that yields batches, or a torch Dataset or DataLoader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, JsonValue

from mlopt.errors import DataError
from mlopt.sources.data._base import Batch, DataSource
from mlopt.types.patterns import REFERENCE
from mlopt.workers.usercode import describe, load_object, reference_problem

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

ROWS_A_BATCH = 64


class FunctionData(DataSource):
    """The user's code.

    What ``function`` names may be a function that returns any of these, or be one of them: an
    iterable of batches, a ``DataLoader``, or a map-style ``Dataset``, whose rows are collected
    into batches. A batch is ``(inputs, targets)`` or just ``inputs``; inputs are an array, a
    tuple of arrays in the order of ``inputs`` in mlopt.yaml, or a mapping by name. For a Hugging
    Face directory they may be texts, or a mapping of raw columns.

    Attributes:
        function: ``module:name`` beside mlopt.yaml.
        arguments: Keyword arguments for it.
    """

    name: ClassVar[str] = "function"
    summary: ClassVar[str] = "a function that yields batches, or a torch Dataset or DataLoader"

    function: Annotated[str, Field(pattern=REFERENCE)]
    arguments: dict[str, JsonValue] = {}

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """The function must be where it is said to be."""
        if (problem := reference_problem(self.function, project_dir)) is not None:
            yield "function", problem

    def imports(self, project_dir: Path, place: str) -> None:
        """Imports the function's module.

        Raises:
            ConfigError: It cannot be imported.
        """
        load_object(self.function, project_dir, place)

    def batches(self, project_dir: Path, inputs: tuple[str, ...], place: str) -> Iterator[Batch]:
        """Calls the function and normalises what it yields.

        Raises:
            ConfigError: The code cannot be imported.
            DataError: It raises, or yields something else than batches.
        """
        found = load_object(self.function, project_dir, place)
        try:
            # A Dataset is called with an index, if at all; its class is called to make one.
            if isinstance(found, type) or (callable(found) and not hasattr(found, "__getitem__")):
                found = found(**self.arguments)
            for item in _iterate(found, f"{place}: '{self.function}'"):
                yield _batch(item, inputs, f"{place}: '{self.function}'")
        except DataError:
            raise
        except Exception as e:
            raise DataError(f"{place}: '{self.function}' raised {describe(e, project_dir)}") from e


def _iterate(found: Any, who: str) -> Iterable[Any]:
    # A Dataset has rows; everything else that can be iterated yields batches already.
    if not isinstance(found, str | bytes | Mapping):
        rows = hasattr(found, "__getitem__") and hasattr(found, "__len__")
        if rows and not isinstance(found, list | tuple):
            return _collected(found)
        if isinstance(found, Iterable):
            return found
    raise DataError(
        f"{who} gives an object of type {type(found).__name__}; it must give an iterable of batches, a DataLoader "
        "or a Dataset."
    )


def _collected(dataset: Any) -> Iterator[Any]:
    from torch.utils.data import default_collate

    for start in range(0, len(dataset), ROWS_A_BATCH):
        rows = [dataset[i] for i in range(start, min(start + ROWS_A_BATCH, len(dataset)))]
        if isinstance(rows[0], Mapping) and any(map(_is_raw, rows[0].values())):
            yield {name: [row[name] for row in rows] for name in rows[0]}
        else:
            yield default_collate(rows)


def _batch(item: Any, names: tuple[str, ...], who: str) -> Batch:
    values, target = item, None
    if (
        isinstance(item, tuple | list)
        and len(item) == 2
        and not isinstance(item[0], str)
        and not (len(names) == 2 and _is_array(item[0]))
    ):
        values, target = item
    if isinstance(values, tuple | list) and values and isinstance(values[0], str):
        values = {"text": list(values)}
    if isinstance(values, Mapping) and any(map(_is_raw, values.values())):
        return Batch({str(k): v if _is_array(v) else list(v) for k, v in values.items()}, target)
    if isinstance(values, Mapping):
        inputs = {str(name): _array(value, who) for name, value in values.items()}
    elif isinstance(values, tuple | list):
        inputs = dict(zip(names, (_array(v, who) for v in values), strict=False))
        if len(values) != len(names):
            raise DataError(
                f"{who} yields {len(values)} arrays for the {len(names)} inputs {', '.join(names)}. "
                "A batch is (inputs, targets); several inputs are a tuple or a mapping."
            )
    else:
        inputs = {names[0]: _array(values, who)}
    return Batch(inputs, None if target is None else _array(target, who))


def _is_raw(value: Any) -> bool:
    """Whether a value is text or an image, or a list of these: what a directory's files prepare."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return isinstance(value, str | Path | Mapping) or hasattr(value, "convert")


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _array(value: Any, who: str) -> Array:
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except ValueError as e:  # rows of several lengths
        raise DataError(
            f"{who} yields a {type(value).__name__} that makes no array: {e} Pad or crop the examples "
            "to one size."
        ) from e
    if array.dtype == object or array.ndim == 0:
        raise DataError(
            f"{who} yields an object of type {type(value).__name__} where an array with a batch axis "
            "belongs."
        )
    return array

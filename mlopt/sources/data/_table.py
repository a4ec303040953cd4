"""What the sources that read text files share: which column is what, and rows as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mlopt.errors import DataError, did_you_mean, listing
from mlopt.sources.data._base import Batch

ROWS_A_BATCH = 64

Columns = dict[str, str | list[str]]

RAW = (
    "text", "text_pair", "tokens", "tags", "question", "context", "answers", "answer",
    "answer_start", "image",
)  # fmt: skip
"""What a Hugging Face directory knows to read."""

TARGETS = ("target", "label")


class Row(NamedTuple):
    """One example of a file: where it stands, and its values by column."""

    place: str
    values: Mapping[str, Any]


class Layout(NamedTuple):
    """Which columns of a file are what.

    Attributes:
        numeric: Columns of each input.
        raw: The column of each raw value.
        target: Columns of the target; empty: none.
    """

    numeric: dict[str, list[str]]
    raw: dict[str, str]
    target: list[str]


def batches(
    rows: Callable[[], Iterator[Row]],
    columns: Columns,
    inputs: tuple[str, ...],
    file: Path,
    place: str,
    quoted: bool,
) -> Iterator[Batch]:
    """A file in batches.

    Args:
        rows: Reads it from its beginning.
        columns: Which columns are what, as far as mlopt.yaml says so.
        inputs: Names of the model's inputs.
        file: What paths of images are relative to the directory of.
        place: Where in mlopt.yaml the split stands.
        quoted: Whether the file tells the text "1" from the number 1.

    Raises:
        DataError: A column is missing, or a value is not what its column holds.
    """
    first = next(rows(), None)
    if first is None:
        return
    layout = _layout(columns, tuple(first.values), inputs, f"{place}: {file.name}")
    kind = _kind_of_target(rows(), layout.target, quoted)
    if kind is int and not quoted and layout.raw and len(layout.target) == 1:
        kind = str  # what reads texts or images may call its labels "1" to "5"
    iterator = rows()
    while chunk := list(islice(iterator, ROWS_A_BATCH)):
        yield _batch(chunk, layout, kind, file.parent)


def _layout(
    columns: Columns, header: tuple[str, ...], inputs: tuple[str, ...], what: str
) -> Layout:
    stated = {role: [c] if isinstance(c, str) else c for role, c in columns.items()}
    known = (*inputs, *RAW, *TARGETS)
    for role, names in stated.items():
        if role not in known:
            raise DataError(
                f"{what}: 'columns' names '{role}', which is no input. {did_you_mean(role, known)}"
            )
        if role in RAW and role not in inputs and len(names) > 1:
            raise DataError(f"{what}: 'columns' gives '{role}' several columns; it takes one.")
        for name in names:
            if name not in header:
                raise DataError(
                    f"{what} has no column '{name}' (it has {listing(header)}). Correct 'columns'."
                )
    target = next((stated.pop(role) for role in TARGETS if role in stated), None)
    if target is None:
        target = next(([role] for role in TARGETS if role in header), [])
    if not stated:
        stated = _by_name(header, inputs, target, what)
    numeric = {role: names for role, names in stated.items() if role in inputs}
    if numeric and (missing := [name for name in inputs if name not in numeric]):
        raise DataError(
            f"{what}: no column is the input {listing(missing)} (it has {listing(header)}). Name it "
            "with 'columns'."
        )
    return Layout(numeric, {r: n[0] for r, n in stated.items() if r not in inputs}, target)


def _by_name(
    header: tuple[str, ...], inputs: tuple[str, ...], target: list[str], what: str
) -> dict[str, list[str]]:
    """The columns that are called like an input or a raw value; else all but the target."""
    for roles in (inputs, RAW):
        if found := {role: [role] for role in roles if role in header}:
            return found
    rest = [name for name in header if name not in target]
    if len(inputs) == 1 and rest:
        return {inputs[0]: rest}
    raise DataError(
        f"{what} has the columns {listing(header)}, and none is called like an input "
        f"({listing(inputs)}) or like what a text or an image is made of ({listing(RAW)}). Say with "
        "'columns' which is what."
    )


def _kind_of_target(rows: Iterator[Row], columns: list[str], quoted: bool) -> type:
    """``int`` if all targets are whole numbers, ``float`` if all are numbers, else ``str``."""
    kind: type = int
    if columns:
        for row in rows:
            for value in (_value(row, name) for name in columns):
                for kind_here in (int, float, str):
                    if _fits(value, kind_here, quoted):
                        kind = max(kind, kind_here, key=(int, float, str).index)
                        break
    return kind


def _fits(value: Any, kind: type, quoted: bool) -> bool:
    if kind is str:
        return True
    if isinstance(value, list):
        return all(_fits(one, kind, quoted) for one in value)
    if quoted and isinstance(value, str):
        return False
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        return False
    try:
        kind(value)
    except (TypeError, ValueError):
        return False
    return True


def _batch(rows: Sequence[Row], layout: Layout, kind: type, directory: Path) -> Batch:
    inputs: dict[str, Any] = {role: _numbers(rows, names) for role, names in layout.numeric.items()}
    for role, name in layout.raw.items():
        inputs[role] = [_value(row, name) for row in rows]
    if "image" in layout.raw:
        inputs["image"] = [_image(row, layout.raw["image"], directory) for row in rows]
    target = _targets(rows, layout.target, kind) if layout.target else None
    return Batch(inputs, target, [row.place for row in rows])


def _targets(rows: Sequence[Row], names: list[str], kind: type) -> Any:
    import numpy as np

    if kind is str:
        values = [[_value(row, name) for name in names] for row in rows]
        return [row[0] for row in values] if len(names) == 1 else values
    numbers = _numbers(rows, names)
    return numbers.astype(np.int64 if kind is int else np.float64)


def _numbers(rows: Sequence[Row], names: list[str]) -> Any:
    """The numbers of several columns, shape (n, columns); of one, shape (n, ...) as they are."""
    import numpy as np

    found: list[Any] = []
    for row in rows:
        own = [_number(_value(row, name), name, row.place) for name in names]
        _require_one_shape(own, names, row.place)
        if found and np.shape(own) != np.shape(found[0]):
            raise DataError(
                f"{row.place}: '{', '.join(names)}' has shape {list(np.shape(own[0]))}, and "
                f"{list(np.shape(found[0][0]))} in rows before. All examples must have one size."
            )
        found.append(own)
    array = np.asarray(found)
    return array[:, 0] if len(names) == 1 else array


def _require_one_shape(own: Sequence[Any], names: Sequence[str], place: str) -> None:
    for name, array in zip(names, own, strict=True):
        if array.shape != own[0].shape:
            raise DataError(
                f"{place}: '{names[0]}' has shape {list(own[0].shape)}, and '{name}' has shape "
                f"{list(array.shape)}. Columns of one input must have one shape: correct 'columns'."
            )


def _number(value: Any, name: str, place: str) -> Any:
    """A number, or nested lists of them."""
    import numpy as np

    try:
        if isinstance(value, str):
            array = np.asarray(int(value) if value.strip().lstrip("+-").isdigit() else float(value))
        else:
            array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise DataError(
            f"{place}: '{name}' is {str(value)[:60]!r}, which is no finite number. Correct it, or leave "
            "the column out with 'columns'."
        )
    return array


def _image(row: Row, name: str, directory: Path) -> Path:
    path = directory / str(_value(row, name))
    if not path.is_file():
        raise DataError(
            f"{row.place}: there is no image '{_value(row, name)}' beside the file. Give its path "
            "relative to the file's directory."
        )
    return path


def _value(row: Row, name: str) -> Any:
    if name not in row.values:
        raise DataError(
            f"{row.place}: there is no '{name}' (there is {listing(tuple(row.values))}). Give every "
            "row the columns of the first."
        )
    return row.values[name]

"""A file with one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from mlopt.errors import DataError
from mlopt.sources.data._base import Batch, DataSource
from mlopt.sources.data._table import Columns, Row, batches
from mlopt.sources.paths import missing_file


class JsonlData(DataSource):
    """Examples as JSON objects, one a line.

    Attributes:
        jsonl: The file.
        columns: Which key of the objects is what: an input, ``text``, ``text_pair``, ``tokens``,
            ``tags``, ``question``, ``context``, ``answers``, ``image``, or ``target``. Default: what
            is called so.
    """

    name: ClassVar[str] = "jsonl"
    summary: ClassVar[str] = "a file with one JSON object a line"
    finite: ClassVar[bool] = True
    typed: ClassVar[bool] = False

    jsonl: str
    columns: Columns = {}

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """The file must be there."""
        if (problem := missing_file(project_dir, self.jsonl)) is not None:
            yield "jsonl", problem

    def batches(self, project_dir: Path, inputs: tuple[str, ...], place: str) -> Iterator[Batch]:
        """Reads the lines.

        Raises:
            DataError: A line is no JSON object, or its values are not what the columns hold.
        """
        path = project_dir / self.jsonl
        rows = lambda: _rows(path, place)  # noqa: E731  # read more than once
        return batches(rows, self.columns, inputs, path, place, quoted=True)


def _rows(path: Path, place: str) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    where = f"{path.name}, line {number}"
                    yield Row(f"{place}: {where}", _parsed(line, f"{place}: {where}"))
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{place}: {path.name} cannot be read: {e}. Save it as UTF-8.") from e


def _parsed(line: str, where: str) -> dict[str, object]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise DataError(f"{where} is no JSON: {e}. Write one object a line.") from e
    if not isinstance(found, dict):
        raise DataError(f"{where} is a JSON {type(found).__name__}. Write one object a line.")
    return found

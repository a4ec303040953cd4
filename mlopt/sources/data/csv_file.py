"""A table as comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from mlopt.errors import DataError
from mlopt.sources.data._base import Batch, DataSource
from mlopt.sources.data._table import Columns, Row, batches
from mlopt.sources.paths import missing_file


class CsvData(DataSource):
    """A table whose first line names its columns.

    Attributes:
        csv: The file.
        columns: Which column is what: an input (or a list of columns, for one of shape (N, F)),
            ``text``, ``text_pair``, ``question``, ``context``, ``answer``, ``image``, or ``target``.
            Default: what is called so; and where nothing is, all but the target are the one input.
        delimiter: What stands between two columns.
    """

    name: ClassVar[str] = "csv"
    summary: ClassVar[str] = "a table as comma-separated values"
    finite: ClassVar[bool] = True
    typed: ClassVar[bool] = False

    csv: str
    columns: Columns = {}
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """The file must be there."""
        if (problem := missing_file(project_dir, self.csv)) is not None:
            yield "csv", problem

    def batches(self, project_dir: Path, inputs: tuple[str, ...], place: str) -> Iterator[Batch]:
        """Reads the lines.

        Raises:
            DataError: A line has more or fewer values than the first, or a value is not what its
                column holds.
        """
        path = project_dir / self.csv
        rows = lambda: _rows(path, self.delimiter, place)  # noqa: E731  # read more than once
        return batches(rows, self.columns, inputs, path, place, quoted=False)


def _rows(path: Path, delimiter: str, place: str) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if len(set(header)) < len(header) or not all(header):
                raise DataError(
                    f"{place}: {path.name}, line 1 names a column twice, or has one without a name. "
                    "Give each its own name."
                )
            for values in reader:
                where = f"{place}: {path.name}, line {reader.line_num}"
                if values and len(values) != len(header):
                    raise DataError(
                        f"{where} has {len(values)} values, and {len(header)} columns have a name. "
                        "Put values with a delimiter in them in quotes."
                    )
                if values:
                    yield Row(where, dict(zip(header, values, strict=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{place}: {path.name} cannot be read: {e}. Save it as UTF-8 CSV.") from e

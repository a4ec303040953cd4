"""Tables of a GitHub page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

WIDEST_ROW = 120
"""A padded table that would be wider is written without padding."""


class Table(NamedTuple):
    """A table of Markdown cells.

    Attributes:
        header: One cell a column.
        rows: As many cells as the header has, each.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def width(self) -> int:
        """Characters of the longest row without padding."""
        return max(len(_line(map(_cell, row))) for row in (self.header, *self.rows))

    def __str__(self) -> str:
        rows = [tuple(map(_cell, row)) for row in (self.header, *self.rows)]
        widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(self.header))]
        if sum(widths) + 3 * len(widths) + 1 > WIDEST_ROW:
            widths = [3] * len(widths)
        lines = [
            _line(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join(lines)


def tables(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> tuple[Table, ...]:
    """One table, or several below each other that repeat the first column.

    Args:
        header: All cells of the header.
        rows: All rows.
        columns: Most columns of a table beside the first one.
    """
    return tuple(
        _columns(header, rows, start, start + columns) for start in range(1, len(header), columns)
    )


def fitting(
    header: Sequence[str], rows: Sequence[Sequence[str]], groups: Sequence[int]
) -> tuple[Table, ...]:
    """One table, or as few as fit a page below each other, that repeat the first column.

    Args:
        header: All cells of the header.
        rows: All rows.
        groups: Numbers of columns beside the first one that stay together.
    """
    found: list[Table] = []
    start = end = 1
    for count in groups:
        wider = _columns(header, rows, start, end + count)
        if found and wider.width <= WIDEST_ROW:
            found[-1] = wider
        else:
            start = end
            found.append(_columns(header, rows, start, end + count))
        end += count
    return tuple(found)


def fence(text: str) -> str:
    """``text`` as a code block that nothing inside can end."""
    ticks = "```"
    while ticks in text:
        ticks += "`"
    return f"{ticks}text\n{text}\n{ticks}"


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]], start: int, end: int) -> Table:
    """The first column and those from ``start`` to ``end``."""
    cells = tuple((row[0], *row[start:end]) for row in rows)
    return Table((header[0], *header[start:end]), cells)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"

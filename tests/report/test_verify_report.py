"""What differs between a stored report and the one that its run renders to."""

from __future__ import annotations

import pytest

from mlopt.report.verify import differing_lines, plot_difference

STORED = "# Title\n\nThe p50 is 0.51 ms.\n\n| a | 1 |\n| b | 2 |\n"


@pytest.mark.parametrize(
    ("should", "named"),
    [
        (STORED, []),
        (
            STORED.replace("0.51", "0.52"),
            [("line 3", "The p50 is 0.51 ms.", "The p50 is 0.52 ms.")],
        ),
        (STORED.replace("| b | 2 |\n", ""), [("line 6", "| b | 2 |", None)]),
        (STORED + "| c | 3 |\n", [("after line 6", None, "| c | 3 |")]),
        (STORED.rstrip("\n"), [("", "other ends of lines", "lines that end in \\n")]),
    ],
)
def test_each_line_that_differs_is_named_with_its_number(
    should: str, named: list[tuple[str, str | None, str | None]]
) -> None:
    found = [(one.place, one.says, one.should) for one in differing_lines(STORED, should)]
    assert found == named


SVG = b'<g id="p1a2b3c4d5e6f"><!-- 0.5 --><path d="M 1.25 7 L 300.5 9"/></g>'


@pytest.mark.parametrize(
    ("should", "differs"),
    [
        (SVG, False),
        (SVG.replace(b"1.25", b"1.26"), False),
        (SVG.replace(b"p1a2b3c4d5e6f", b"pffffffffff00"), False),
        (SVG.replace(b"1.25", b"1.55"), True),
        (SVG.replace(b"0.5 -->", b"0.7 -->"), True),
        (SVG.replace(b"path", b"line"), True),
        (SVG.replace(b" 9", b""), True),
        (None, True),
    ],
)
def test_a_plot_differs_when_something_in_it_has_moved_visibly(
    should: bytes | None, differs: bool
) -> None:
    assert (plot_difference(SVG, should) is not None) is differs
    assert (plot_difference(should, SVG) is not None) is differs

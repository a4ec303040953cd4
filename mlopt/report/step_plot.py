"""The plot of what each step gave and took: the steps as a tree, and bars beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from mlopt.report.canvas import INK, LOOKS, Look, kind_of, new_figure, svg_bytes
from mlopt.report.evidence import first_measurement, workloads
from mlopt.report.step_deltas import DELTAS_WIDTH, delta_of, draw_deltas
from mlopt.report.steps import Form, step_trees
from mlopt.report.text import NONE, counted, drawable, shortened, significant
from mlopt.types.estimate import Estimate
from mlopt.types.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 32
_ROW_IN = 0.27
_TOP_IN, _BOTTOM_IN = 0.32, 0.55
_LEFT, _NAMES, _RIGHT = 0.01, 0.27, 0.99
_INDENT = 0.065


class Row(NamedTuple):
    """A form of the model; where ``form`` is None, the heading of a tree."""

    heading: str
    form: Form | None


class Bars(NamedTuple):
    """One quantity of all rows; None where it is not known."""

    title: str
    values: list[Estimate | None]
    words: list[str]


def draw_steps(run: Run) -> bytes | None:
    """The plot as SVG; None for a run without recipes of several steps."""
    rows = _rows(run)
    if not rows:
        return None
    drawn = rows[:MOST_ROWS]
    height = _TOP_IN + _BOTTOM_IN + _ROW_IN * len(drawn)
    figure = new_figure(height)
    _names(_panel(figure, _LEFT, _NAMES, drawn), run, drawn)
    panels = [bars for bars in _quantities(run, drawn) if any(bars.values)]
    scores = [None if row.form is None else delta_of(run, row.form) for row in drawn]
    is_scored = any(scores)
    width = (_RIGHT - _LEFT - _NAMES) / (len(panels) + (DELTAS_WIDTH if is_scored else 0))
    left = _LEFT + _NAMES
    for bars in panels:
        _draw_bars(_panel(figure, left, 0.94 * width, drawn), run, drawn, bars)
        left += width
    if is_scored:
        axes = _panel(figure, left, DELTAS_WIDTH * width, drawn)
        draw_deltas(axes, run, scores, [_look(run, row.form).color for row in drawn])
    _caption(figure, run, len(rows) - len(drawn))
    return svg_bytes(figure)


def _rows(run: Run) -> list[Row]:
    trees = step_trees(run)
    found = []
    for tree in trees:
        if len(trees) > 1:
            found.append(Row(f"on {tree.provider}", None))
        found += [Row("", form) for form in tree.forms]
    return found


def _panel(figure: Figure, left: float, width: float, rows: list[Row]) -> Axes:
    """Axes without a frame; the rows lie at 0, 1, ... from the top."""
    height = figure.get_figheight()
    place = (left, _BOTTOM_IN / height, width, _ROW_IN * len(rows) / height)
    axes = figure.add_axes(place)
    axes.set_axis_off()
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    return axes


def _names(axes: Axes, run: Run, rows: list[Row]) -> None:
    """The steps, each with a line from the one before it."""
    last: dict[int, int] = {}
    for y, row in enumerate(rows):
        if row.form is None:
            axes.text(0, y, row.heading, fontsize=8.5, va="center", fontweight="bold")
            continue
        depth, look = row.form.depth, _look(run, row.form)
        last[depth] = y
        x = _INDENT * depth
        if depth:
            corner = x - 0.7 * _INDENT
            ys = [last[depth - 1] + 0.36, y, y]
            axes.plot([corner, corner, x - 0.012], ys, color=INK, linewidth=0.8)
        axes.text(
            x,
            y,
            shortened(row.form.label, max(16, 32 - 2 * depth)),
            color=look.color,
            fontsize=8.5,
            va="center",
            fontweight="bold" if look is LOOKS["chosen"] else "normal",
        )


def _look(run: Run, form: Form | None) -> Look:
    result = None if form is None else form.result
    return LOOKS["candidate" if result is None else kind_of(run, result)]


def _quantities(run: Run, rows: list[Row]) -> list[Bars]:
    """Everything but quality: the shorter the bar, the better."""
    forms = [row.form for row in rows]
    parameters = [None if f is None else f.cost.parameters for f in forms]
    macs = [None if f is None else f.cost.macs for f in forms]
    sizes = [None if f is None or f.result is None else f.result.size_bytes for f in forms]
    p50 = [None if f is None else _p50(run, f) for f in forms]
    return [
        _exact("parameters", parameters, counted),
        _exact("MACs", macs, counted),
        _exact("size, MB", sizes, lambda size: significant(size / 1e6)),
        Bars("p50, ms", p50, [NONE if e is None else significant(e.value) for e in p50]),
    ]


def _exact(title: str, numbers: list[int | None], write: Callable[[int], str]) -> Bars:
    values = [None if n is None else Estimate(value=n) for n in numbers]
    return Bars(title, values, [NONE if n is None else write(n) for n in numbers])


def _p50(run: Run, form: Form) -> Estimate | None:
    seen = None if form.result is None else first_measurement(run, form.result.selection)
    return None if seen is None else drawable(seen.p50_ms)


def _draw_bars(axes: Axes, run: Run, rows: list[Row], bars: Bars) -> None:
    """Bars from zero, each with its number behind it."""
    ends = [0.0 if e is None else max(e.value, e.high or 0.0) for e in bars.values]
    axes.set_xlim(0, 2.0 * max(ends))
    axes.axvline(0, color=INK, linewidth=1.6)
    axes.set_title(bars.title, loc="left", fontsize=8.5, pad=4)
    for y, (row, value) in enumerate(zip(rows, bars.values, strict=True)):
        if row.form is None:
            continue
        if value is not None:
            axes.barh(y, value.value, height=0.52, color=_look(run, row.form).color, alpha=0.55)
        if value is not None and value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [y, y], color=INK, linewidth=1.8)
        axes.annotate(
            bars.words[y],
            (ends[y], y),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8,
            va="center",
        )


def _caption(figure: Figure, run: Run, missing: int) -> None:
    name = workloads(run)[0].name
    text = (
        f"each row: the model after one more step; p50 under {name}; shorter bars are better, and so "
        "are deltas further right"
    )
    if missing:
        text += f"\n{missing} more rows stand in the table only"
    figure.text(_LEFT, 0.06 / figure.get_figheight(), text, fontsize=8, va="bottom")

"""The part of the plot of the steps that shows the metric which decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlopt.report.canvas import INK, LIMIT
from mlopt.report.quality import amount, harm, is_share, metric_result
from mlopt.report.steps import Form
from mlopt.report.text import change
from mlopt.types.estimate import Estimate
from mlopt.types.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DELTAS_WIDTH = 1.9
"""Of the panel, in widths of the others."""

_FARTHEST = 3.0
"""A loss of more than this many margins is drawn at the edge, to keep the others apart."""


class Delta(NamedTuple):
    """What a form lost against the baseline, in points for a share of right answers.

    Attributes:
        loss: Positive is worse, whichever way the metric points.
        words: The delta itself.
        margin: Largest acceptable loss.
    """

    loss: Estimate
    words: str
    margin: float | None


def delta_of(run: Run, form: Form) -> Delta | None:
    """The first metric's delta; None where the form was not scored."""
    if form.result is None or not run.plan.margins:
        return None
    scored = metric_result(form.result.selection, run.plan.margins[0].metric)
    if scored is None:
        return None
    factor = 100.0 if is_share(run, scored.name) else 1.0
    is_baseline = form.result.plan.role == "baseline"
    value = Estimate(value=scored.delta.value * factor)
    return Delta(
        loss=harm(scored).scaled(factor),
        words="baseline" if is_baseline else change(value),
        margin=None if scored.max_drop is None else scored.max_drop * factor,
    )


def draw_deltas(axes: Axes, run: Run, rows: Sequence[Delta | None], colors: Sequence[str]) -> None:
    """Points with intervals, the better ones further right, and the deltas behind them.

    Args:
        axes: Whose rows lie at 0, 1, ... from the top.
        run: The run.
        rows: What each row shows; None for nothing.
        colors: Of each row.
    """
    metric = run.plan.margins[0].metric
    share = is_share(run, metric)
    known = [delta for delta in rows if delta is not None]
    margin = next((delta.margin for delta in known if delta.margin is not None), None)
    edge = None if margin is None else _FARTHEST * margin
    best, worst = _ends(known, edge)
    room = 0.08 * (worst - best) or 1.0
    axes.set_xlim(worst + room, best - room - 0.6 * (worst - best + 2 * room))
    axes.set_title(
        f"{metric} delta" + (", points" if share else ""), loc="left", fontsize=8.5, pad=4
    )
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
    if margin is not None:
        axes.axvline(margin, color=LIMIT, linewidth=1.2, linestyle=(0, (5, 3)))
        words = amount(margin / 100, True) if share else amount(margin, False)
        _below(axes, margin, f"margin {words}")
    for y, (delta, color) in enumerate(zip(rows, colors, strict=True)):
        if delta is not None:
            _draw(axes, y, delta, color, edge)
            axes.annotate(delta.words, (best - room, y), fontsize=8, va="center")


def _ends(known: Sequence[Delta], edge: float | None) -> tuple[float, float]:
    """Smallest and largest loss that is drawn."""
    ends = [0.0] + [delta.margin for delta in known if delta.margin is not None]
    for delta in known:
        if edge is not None and delta.loss.value > edge:
            ends.append(edge)
        else:
            ends += [
                v for v in (delta.loss.value, delta.loss.low, delta.loss.high) if v is not None
            ]
    return min(ends), max(ends)


def _draw(axes: Axes, y: int, delta: Delta, color: str, edge: float | None) -> None:
    loss = delta.loss
    if edge is not None and loss.value > edge:
        axes.plot([edge], [y], marker="<", markersize=6, color=color)
        return
    axes.plot([loss.value], [y], marker="o", markersize=4.5, color=color)
    if loss.low is not None and loss.high is not None:
        axes.plot([loss.low, loss.high], [y, y], color=color, linewidth=1.4)


def _below(axes: Axes, x: float, text: str) -> None:
    axes.annotate(
        text,
        (x, 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, -4),
        textcoords="offset points",
        ha="center",
        va="top",
        color=LIMIT,
        fontsize=8,
    )

"""What both plots share: colours that hold on white and on black, axes, and stable SVG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from mlopt.report.evidence import chosen
from mlopt.types.budget import BudgetLine
from mlopt.types.run import CandidateResult, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#787878"
"""Contrast of more than 4:1 with white and with GitHub's dark background."""

LIMIT = "#D04A40"
WIDTH_IN = 8.4

_COORDINATES = re.compile(rb' d="[^"]*"|translate\([^)]*\)')
_DECIMALS = re.compile(rb"(\.\d\d)\d+")

Kind = Literal["chosen", "candidate", "baseline", "reference"]


class Look(NamedTuple):
    """How one kind of candidate is drawn; shape and colour both tell it."""

    color: str
    marker: str
    size: float


LOOKS: dict[Kind, Look] = {
    "chosen": Look("#C85A00", "*", 14.0),
    "candidate": Look("#367FC2", "o", 6.5),
    "baseline": Look("#787878", "D", 6.5),
    "reference": Look("#A35FB8", "s", 6.5),
}


def kind_of(run: Run, result: CandidateResult) -> Kind:
    """The kind that a candidate is drawn as."""
    winner = chosen(run)
    return "chosen" if winner is not None and winner.name == result.name else result.plan.role


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with ours on top, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": "mlopt",
                "svg.fonttype": "path",
                "font.family": "DejaVu Sans",
                "font.size": 9,
                "text.color": INK,
                "axes.edgecolor": INK,
                "axes.labelcolor": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "axes.facecolor": "none",
                "figure.facecolor": "none",
                "savefig.facecolor": "none",
                "text.parse_math": False,
            }
        )
        yield


def new_figure(height_in: float) -> Figure:
    """An empty figure without background, 72 dots an inch as in the SVG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=72, facecolor="none")
    FigureCanvasAgg(figure)
    return figure


def svg_bytes(figure: Figure) -> bytes:
    """The figure as SVG, coordinates cut to 1/100 point; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": "mlopt"}
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    return _COORDINATES.sub(_rounded, buffer.getvalue())


def _rounded(match: re.Match[bytes]) -> bytes:
    return _DECIMALS.sub(rb"\1", match[0])


def plain_axes(axes: Axes) -> None:
    """Only the left and the lower spine, thin."""
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_linewidth(0.8)
    axes.tick_params(width=0.8, length=3)


def latency_axis(axes: Axes, low: float, high: float) -> None:
    """An axis of milliseconds, logarithmic where it spans more than a factor of five."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if high / low > 5:
        axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks(low, high)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones: steps of 1, 2, 5 over a wide range, even steps else."""
    if high / low > 5:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
            found = [float(f"{m}e{e}") for e in exponents for m in steps]
            found = [value for value in found if low <= value <= high]
            if len(found) <= 9:
                break
        return found
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= max(m for m in (1, 2, 2.5, 5) if m * step <= (high - low) / 3)
    first = math.ceil(low / step)
    return [float(f"{i * step:.10g}") for i in range(first, math.floor(high / step) + 1)]


def latency_limits(run: Run) -> list[BudgetLine]:
    """The latency lines of the budget under the workload that decides."""
    first = run.plan.workloads[0].name if run.plan.workloads else ""
    return [line for line in run.plan.budget if line.is_latency and line.workload == first]


def draw_limits(axes: Axes, run: Run, low: float, high: float, *, quantity: str = "") -> None:
    """Vertical lines for the budget, labelled above the axes; those beyond the axis are only named.

    Args:
        axes: With its limits set.
        run: The run.
        low: Lower end of the axis.
        high: Upper end of the axis.
        quantity: What the axis shows; the label of a line on another one says so.
    """
    by_limit: dict[float, list[str]] = {}
    for line in latency_limits(run):
        other = quantity and not line.quantity.startswith(quantity)
        note = f" (points show {quantity})" if other else ""
        by_limit.setdefault(line.limit, []).append(f"{line}{note}")
    beyond = []
    for limit, words in sorted(by_limit.items()):
        text = ", ".join(words)
        if low <= limit <= high:
            axes.axvline(limit, color=LIMIT, linewidth=1.2, linestyle=(0, (5, 3)))
            goes_left = _position(limit, low, high) > 0.6
            _above(axes, f"{text} " if goes_left else f" {text}", limit, 4, goes_left=goes_left)
        else:
            beyond.append(f"{text} lies {'right' if limit > high else 'left'} of this plot")
    if beyond:
        _above(axes, "; ".join(beyond), high, 16, goes_left=True)


def _above(axes: Axes, text: str, x: float, lift: float, *, goes_left: bool) -> None:
    """Words above the axes that end or begin at ``x``."""
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, lift),
        textcoords="offset points",
        ha="right" if goes_left else "left",
        color=LIMIT,
        fontsize=8,
    )


def _position(value: float, low: float, high: float) -> float:
    """Where a value stands on the axis, 0 to 1."""
    if high / low > 5:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)

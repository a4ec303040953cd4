"""Latencies against a loss of quality: what the plot of all candidates and that of a walk share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.report.canvas import (
    INK,
    LIMIT,
    LOOKS,
    Kind,
    draw_limits,
    kind_of,
    latency_axis,
    latency_limits,
    new_figure,
    plain_axes,
    svg_bytes,
)
from mlopt.report.evidence import first_measurement, workloads
from mlopt.report.labels import Box, Label, place_labels
from mlopt.report.quality import amount, is_share, metric_result
from mlopt.report.text import change, drawable, shortened
from mlopt.types.budget import BudgetLine
from mlopt.types.estimate import Estimate
from mlopt.types.run import CandidateResult, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KEY_ROW_IN = 0.17
_FARTHEST = 3.0
"""A loss of more than this many margins is drawn at the edge, to keep the others apart."""

MOST_LABELS = 16
"""The chosen one, the baseline and the fastest have names; the rest are points only."""

CROWD = 8
"""Among more points than these, the intervals of those that were not chosen are pale."""


class Point(NamedTuple):
    """A candidate in the plot; ``y`` in points for a share of right answers."""

    name: str
    kind: Kind
    x: Estimate
    y: Estimate


class Scene(NamedTuple):
    """What is drawn.

    Attributes:
        margin: Largest acceptable loss, in the unit of the y axis; None where there is none.
        upwards: Whether a larger delta is better.
        paths: Names of points that a line connects, for each line in the order that it goes.
    """

    points: list[Point]
    metric: str
    share: bool
    margin: float | None
    upwards: bool
    paths: tuple[tuple[str, ...], ...] = ()


def scene_of(run: Run, results: Sequence[CandidateResult]) -> Scene | None:
    """The candidates that have both a latency and a score; None where there are none.

    Args:
        run: The run.
        results: Candidates of it.
    """
    if not run.plan.margins:
        return None
    name = run.plan.margins[0].metric
    share = is_share(run, name)
    factor = 100.0 if share else 1.0
    points, margin = [], None
    for result in results:
        seen = first_measurement(run, result.selection)
        scored = metric_result(result.selection, name)
        if seen is None or scored is None:
            continue
        margin = margin if scored.max_drop is None else scored.max_drop * factor
        points.append(
            Point(
                result.name,
                kind_of(run, result),
                drawable(seen.p50_ms),
                scored.delta.scaled(factor),
            )
        )
    upwards = run.plan.margins[0].higher_is_better
    return Scene(points, name, share, margin, upwards) if points else None


def draw_scene(run: Run, scene: Scene) -> bytes:
    """The plot as SVG."""
    svg, is_clear = _render(run, scene, numbered=False)
    return svg if is_clear else _render(run, scene, numbered=True)[0]


def _render(run: Run, scene: Scene, *, numbered: bool) -> tuple[bytes, bool]:
    """The plot, with names beside the points or with numbers and a key below."""
    key_in = _KEY_ROW_IN * math.ceil(min(len(scene.points), MOST_LABELS) / 2) if numbered else 0.0
    height = 4.6 + key_in
    figure = new_figure(height)
    axes = figure.add_axes((0.09, (0.55 + key_in) / height, 0.79, 3.6 / height))
    plain_axes(axes)
    low, high = _latency_range(run, scene)
    latency_axis(axes, low, high)
    _quality_axis(axes, scene)
    draw_limits(axes, run, low, high, quantity="p50")
    _margin(axes, scene)
    _paths(axes, scene)
    obstacles = [box for point in scene.points for box in _draw(axes, point, scene)]
    obstacles += _lines(axes, scene, latency_limits(run))
    labels = _labels(scene)
    if numbered:
        _key(axes, labels, height)
        labels = [label._replace(text=str(i)) for i, label in enumerate(labels, 1)]
    is_clear = place_labels(axes, labels, obstacles)
    _titles(axes, run, scene)
    return svg_bytes(figure), is_clear


def _paths(axes: Axes, scene: Scene) -> None:
    """Lines from point to point, below them."""
    places = {point.name: (point.x.value, _drawn_y(point, scene)) for point in scene.points}
    for path in scene.paths:
        xs, ys = zip(*(places[name] for name in path), strict=True)
        axes.plot(xs, ys, color=INK, linewidth=1.0, zorder=2)


def _titles(axes: Axes, run: Run, scene: Scene) -> None:
    unnamed = len(scene.points) - MOST_LABELS
    more = f"; the {unnamed} slowest have no name" if unnamed > 0 else ""
    axes.set_xlabel(f"p50 latency, ms ({workloads(run)[0].name}; left is better){more}")
    unit = ", percentage points" if scene.share else ""
    axes.set_ylabel(f"{scene.metric} delta{unit} (up is better)")


def _key(axes: Axes, labels: list[Label], height: float) -> None:
    """Names by number, in two columns below the axes."""
    rows = math.ceil(len(labels) / 2)
    for i, label in enumerate(labels):
        axes.annotate(
            f"{i + 1}  {label.text}",
            (0.02 if i < rows else 0.51, (0.04 + _KEY_ROW_IN * (rows - i % rows)) / height),
            xycoords="figure fraction",
            color=label.color,
            fontsize=8,
            va="top",
            fontweight="bold" if label.bold else "normal",
        )


def _latency_range(run: Run, scene: Scene) -> tuple[float, float]:
    lows = [p.x.low if p.x.low is not None else p.x.value for p in scene.points]
    highs = [p.x.high if p.x.high is not None else p.x.value for p in scene.points]
    low, high = min(lows), max(highs)
    near = [line.limit for line in latency_limits(run) if low / 4 < line.limit < high * 4]
    low, high = min([low, *near]), max([high, *near])
    room = max((high / low) ** 0.12, 1.12)
    return low / room, high * room


def _floor(scene: Scene) -> float | None:
    """The delta below which a point is drawn at the edge."""
    if scene.margin is None:
        return None
    return -_FARTHEST * scene.margin if scene.upwards else _FARTHEST * scene.margin


def _is_beyond(point: Point, scene: Scene) -> bool:
    floor = _floor(scene)
    if floor is None:
        return False
    return point.y.value < floor if scene.upwards else point.y.value > floor


def _quality_axis(axes: Axes, scene: Scene) -> None:
    sign = 1.0 if scene.upwards else -1.0
    ends = [0.0] if scene.margin is None else [0.0, -scene.margin]
    for point in scene.points:
        if _is_beyond(point, scene):
            ends.append(sign * (_floor(scene) or 0.0))
            continue
        known = (point.y.value, point.y.low, point.y.high)
        ends += [sign * value for value in known if value is not None]
    low, high = min(ends), max(ends)
    room = 0.14 * (high - low) or 1.0
    limits = (sign * (low - room), sign * (high + room))
    axes.set_ylim(*limits)
    axes.axhline(0, color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
    if scene.margin is None or abs(scene.margin) > 0.06 * (high - low):
        _beside(axes, 0, "baseline", INK)


def _margin(axes: Axes, scene: Scene) -> None:
    if scene.margin is None:
        return
    at = -scene.margin if scene.upwards else scene.margin
    axes.axhline(at, color=LIMIT, linewidth=1.2, linestyle=(0, (5, 3)))
    words = amount(scene.margin / 100, True) if scene.share else amount(scene.margin, False)
    _beside(axes, at, f"margin {words}", LIMIT)


def _beside(axes: Axes, at: float, text: str, color: str) -> None:
    """A name for a horizontal line, right of the axes."""
    axes.annotate(
        text,
        (1.0, at),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=color,
        fontsize=8,
    )


def _lines(axes: Axes, scene: Scene, limits: list[BudgetLine]) -> list[Box]:
    """Where the straight lines run, so that no name is written across them."""
    levels = [0.0] if scene.margin is None else [0.0, -scene.margin, scene.margin]
    levels = levels[:2] if scene.upwards else [levels[0], *levels[2:]]
    window = axes.get_window_extent()
    found = []
    for level in levels:
        _, y = axes.transData.transform((1.0, level))
        found.append(Box(window.x0, y - 1, window.x1, y + 1))
    for line in limits:
        x, _ = axes.transData.transform((line.limit, 0.0))
        found.append(Box(x - 1, window.y0, x + 1, window.y1))
    return found


def _draw(axes: Axes, point: Point, scene: Scene) -> list[Box]:
    """Draws a point with its bars, and returns what they cover."""
    look = LOOKS[point.kind]
    beyond = _is_beyond(point, scene)
    y = _drawn_y(point, scene)
    bars: dict[str, Any] = {"xerr": _bar(point.x), "yerr": None if beyond else _bar(point.y)}
    pale = point.kind == "candidate" and len(scene.points) > CROWD
    axes.errorbar(
        [point.x.value],
        [y],
        **bars,
        fmt="v" if beyond else look.marker,
        color=look.color,
        ecolor=(look.color, 0.35 if pale else 1.0),
        markersize=7 if beyond else look.size,
        elinewidth=1.8 if point.kind == "chosen" else 1.1,
        capsize=2.5,
        zorder=4 if point.kind == "chosen" else 3,
    )
    cx, cy = axes.transData.transform((point.x.value, y))
    half = look.size / 2 + 1
    found = [Box(cx - half, cy - half, cx + half, cy + half)]
    if point.x.low is not None and point.x.high is not None:
        (x0, _), (x1, _) = axes.transData.transform([(point.x.low, y), (point.x.high, y)])
        found.append(Box(x0, cy - 1.5, x1, cy + 1.5))
    if not beyond and point.y.low is not None and point.y.high is not None:
        ys = axes.transData.transform([(point.x.value, point.y.low), (point.x.value, point.y.high)])
        found.append(Box(cx - 1.5, float(ys[:, 1].min()), cx + 1.5, float(ys[:, 1].max())))
    return found


def _drawn_y(point: Point, scene: Scene) -> float:
    floor = _floor(scene)
    return floor if floor is not None and _is_beyond(point, scene) else point.y.value


def _bar(estimate: Estimate) -> list[list[float]] | None:
    if estimate.low is None or estimate.high is None:
        return None
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]


def _labels(scene: Scene) -> list[Label]:
    found = []
    for point in scene.points[:MOST_LABELS]:
        text = shortened(point.name, 44)
        if _is_beyond(point, scene):
            text += f": {change(Estimate(value=point.y.value))}, below this plot"
        y = _drawn_y(point, scene)
        found.append(Label(text, point.x.value, y, LOOKS[point.kind].color, point.kind == "chosen"))
    return found

"""The plot of the raw latencies: one strip a candidate."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from mlopt.errors import RunError
from mlopt.profiling.samples import Samples
from mlopt.report.canvas import (
    INK,
    LOOKS,
    Kind,
    Look,
    draw_limits,
    kind_of,
    latency_axis,
    latency_limits,
    new_figure,
    plain_axes,
    svg_bytes,
)
from mlopt.report.evidence import first_measurement, timed, workloads
from mlopt.report.text import NONE, shortened, significant
from mlopt.types.measurement import Measurement
from mlopt.types.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Array = np.ndarray[Any, Any]

MOST_STRIPS = 14
_BINS = 96
_SMOOTHING_BINS = 1.2
_STRIP_IN = 0.5
_COLUMNS = (1.1, 1.19, 1.28)


class Strip(NamedTuple):
    """The samples of one candidate, in milliseconds and ascending order."""

    name: str
    kind: Kind
    seen: Measurement
    samples: Array


def draw_distributions(run: Run, run_dir: Path) -> bytes | None:
    """The plot as SVG, for the workload that decides; None where nothing was timed.

    Raises:
        RunError: The samples of a measurement are missing or damaged.
    """
    strips = _strips(run, run_dir)
    if not strips:
        return None
    drawn = strips[:MOST_STRIPS]
    low, high = _latency_range(run, drawn)
    height = 1.17 + _STRIP_IN * len(drawn)
    figure = new_figure(height)
    axes = figure.add_axes((0.02, 0.7 / height, 0.76, _STRIP_IN * len(drawn) / height))
    plain_axes(axes)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_ylim(-0.02, len(drawn))
    latency_axis(axes, low, high)
    draw_limits(axes, run, low, high)
    _numbers(axes, "", ("p50", "p99", "max"), len(drawn))
    for row, strip in enumerate(reversed(drawn)):
        _draw(axes, strip, row, low, high)
    axes.set_xlabel(_caption(run, len(strips) - len(drawn)))
    return svg_bytes(figure)


def _strips(run: Run, run_dir: Path) -> list[Strip]:
    """Fastest first; where there are too many, the chosen, baseline and reference stay."""
    found = []
    for result in timed(run):
        seen = first_measurement(run, result.selection)
        if seen is not None and seen.count:
            samples = np.sort(_milliseconds(run_dir, seen))
            found.append(Strip(result.name, kind_of(run, result), seen, samples))
    found.sort(key=lambda s: (s.seen.p50_ms.value, s.name))
    kept = [s for s in found if s.kind != "candidate"]
    others = [s for s in found if s.kind == "candidate"]
    drawn = kept + others[: max(0, MOST_STRIPS - len(kept))]
    rest = [s for s in found if s not in drawn] if len(drawn) < len(found) else []
    return sorted(drawn, key=lambda s: (s.seen.p50_ms.value, s.name)) + rest


def _milliseconds(run_dir: Path, seen: Measurement) -> Array:
    place = seen.samples.path
    try:
        milliseconds: Array = Samples.read(run_dir, seen.samples).ns / 1e6
    except FileNotFoundError as e:
        raise RunError(
            f"{place} is missing, and the report draws it. Restore the file from the run's directory."
        ) from e
    except (OSError, ValueError, KeyError, IndexError, BadZipFile, zlib.error) as e:
        raise RunError(
            f"{place} is damaged ({e}). Restore the file from the run's directory."
        ) from e
    return milliseconds


def _latency_range(run: Run, strips: list[Strip]) -> tuple[float, float]:
    """From the fastest sample to the slowest 0.1%, so that one stray sample does not rule the axis."""
    low = min(float(np.quantile(s.samples, 0.001)) for s in strips)
    high = max(max(float(np.quantile(s.samples, 0.999)), s.seen.p50_ms.value) for s in strips)
    near = [line.limit for line in latency_limits(run) if low / 4 < line.limit < high * 4]
    low, high = min([low, *near]), max([high, *near])
    room = max((high / low) ** 0.04, 1.03)
    return low / room, high * room


def _draw(axes: Axes, strip: Strip, row: int, low: float, high: float) -> None:
    look = LOOKS[strip.kind]
    centers, height = _density(strip.samples, low, high)
    axes.fill_between(centers, row, row + 0.52 * height, color=look.color, alpha=0.55, linewidth=0)
    ends = (max(low, float(strip.samples[0])), min(high, float(strip.samples[-1])))
    axes.plot(ends, (row, row), color=look.color, linewidth=1.0)
    axes.plot([strip.seen.p50_ms.value] * 2, (row, row + 0.56), color=look.color, linewidth=2.0)
    p99 = strip.seen.p99_ms
    if p99 is not None and strip.seen.p99_support == "interval" and p99.value <= high:
        axes.plot([p99.value] * 2, (row, row + 0.34), color=look.color, linewidth=1.4)
        axes.plot([p99.value], [row + 0.34], marker="o", markersize=3.5, color=look.color)
    _name(axes, strip, row, look)


def _density(samples: Array, low: float, high: float) -> tuple[Array, Array]:
    """Smoothed histogram over the axis as it is drawn, its highest bin 1."""
    is_log = high / low > 5
    edges = np.geomspace(low, high, _BINS + 1) if is_log else np.linspace(low, high, _BINS + 1)
    counts, _ = np.histogram(samples, edges)
    offsets = np.arange(-4, 5)
    kernel = np.exp(-0.5 * (offsets / _SMOOTHING_BINS) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same")
    smooth = smooth / max(float(smooth.max()), 1e-12)
    used = np.flatnonzero(smooth > 0.002)
    part = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
    return (edges[:-1] + np.diff(edges) / 2)[part], smooth[part]


def _name(axes: Axes, strip: Strip, row: int, look: Look) -> None:
    bold = "bold" if strip.kind == "chosen" else "normal"
    axes.text(
        0.0,
        row + 0.76,
        shortened(strip.name, 48),
        color=look.color,
        fontweight=bold,
        fontsize=8,
        va="center",
        transform=axes.get_yaxis_transform(),
    )
    p99 = strip.seen.p99_ms
    has_p99 = p99 is not None and strip.seen.p99_support == "interval"
    numbers = (
        significant(strip.seen.p50_ms.value),
        significant(p99.value) if p99 is not None and has_p99 else NONE,
        significant(float(strip.samples[-1])),
    )
    _numbers(axes, bold, numbers, row)


def _numbers(axes: Axes, weight: str, cells: tuple[str, str, str], row: int) -> None:
    """Three columns right of the axes, at the height of a strip."""
    for cell, x in zip(cells, _COLUMNS, strict=True):
        axes.text(
            x,
            row + 0.2,
            cell,
            color=INK,
            fontweight=weight or "normal",
            fontsize=8,
            ha="right",
            transform=axes.get_yaxis_transform(),
        )


def _caption(run: Run, missing: int) -> str:
    name = workloads(run)[0].name
    text = (
        f"latency, ms ({name}); tall mark: p50, dot: p99; the slowest 0.1% may lie beyond the axis"
    )
    return f"{text}\n{missing} slower candidates are not drawn" if missing else text

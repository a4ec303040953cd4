"""Names beside their points: each at the nearest place where it covers nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_DISTANCES = (9.0, 16.0, 26.0, 38.0, 52.0, 68.0)
_ANGLES = (0, 45, -45, 90, -90, 135, -135, 180)
_LEADER_FROM = 20.0
_BEARABLE = 0.12
"""Share of a label that may be covered."""


class Label(NamedTuple):
    """A name for a point in data coordinates."""

    text: str
    x: float
    y: float
    color: str
    bold: bool


class Box(NamedTuple):
    """A rectangle in points of the figure."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        """Area of the rectangle."""
        return (self.right - self.left) * (self.top - self.bottom)


def place_labels(axes: Axes, labels: list[Label], obstacles: list[Box]) -> bool:
    """Writes the labels, the first ones at the best places.

    Args:
        axes: With its limits and its place in the figure set.
        labels: In the order of their importance.
        obstacles: What should not be covered: markers and bars, in points of the figure.

    Returns:
        Whether every label found a place where it covers next to nothing.
    """
    window = axes.get_window_extent()
    frame = Box(window.x0, window.y0, window.x1, window.y1)
    taken, is_clear = list(obstacles), True
    for label in labels:
        x, y = axes.transData.transform((label.x, label.y))
        note = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            color=label.color,
            fontsize=8.5 if label.bold else 8,
            fontweight="bold" if label.bold else "normal",
            va="center",
        )
        box, covered = _place(note, float(x), float(y), frame, taken)
        is_clear = is_clear and covered < _BEARABLE * box.area
        taken.append(box)
    return is_clear


def _place(note: Annotation, x: float, y: float, frame: Box, taken: list[Box]) -> tuple[Box, float]:
    extent = note.get_window_extent()
    width, height = extent.width, extent.height
    options = []
    for distance in _DISTANCES:
        for order, angle in enumerate(_ANGLES):
            dx = distance * math.cos(math.radians(angle))
            dy = distance * math.sin(math.radians(angle))
            left = x + dx - (0 if dx > 1 else width if dx < -1 else width / 2)
            box = Box(left, y + dy - height / 2, left + width, y + dy + height / 2)
            covered = sum(box.overlap(other) for other in taken)
            covered += 5 * (box.area - box.overlap(frame))
            options.append((covered + distance / 4 + order / 10, covered, box, distance, dx, dy))
    _, covered, box, distance, dx, dy = min(options)
    note.set_position((dx, dy))
    note.set_horizontalalignment("left" if dx > 1 else "right" if dx < -1 else "center")
    if distance > _LEADER_FROM:
        _leader(note, dx, dy)
    return box, covered


def _leader(note: Annotation, dx: float, dy: float) -> None:
    shorter = 1 - 4 / math.hypot(dx, dy)
    note.axes.annotate(  # type: ignore[union-attr]  # the note was made on these axes
        "",
        note.xy,
        xytext=(dx * shorter, dy * shorter),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": note.get_color(), "linewidth": 0.6, "alpha": 0.7},
    )

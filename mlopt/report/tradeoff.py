"""The plot of p50 latency against the loss of quality."""

from __future__ import annotations

from mlopt.report.canvas import Kind
from mlopt.report.evidence import timed
from mlopt.report.scene import draw_scene, scene_of
from mlopt.types.run import Run

_IMPORTANCE: tuple[Kind, ...] = ("chosen", "baseline", "reference", "candidate")


def draw_tradeoff(run: Run) -> bytes | None:
    """The plot as SVG; None where no candidate has both a latency and a score."""
    scene = scene_of(run, timed(run))
    if scene is None:
        return None
    scene.points.sort(key=lambda p: (_IMPORTANCE.index(p.kind), p.x.value, p.name))
    return draw_scene(run, scene)

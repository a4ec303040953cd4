"""The plots of a run."""

from __future__ import annotations

from pathlib import Path

from mlopt.report.canvas import style
from mlopt.report.curves import draw_curves
from mlopt.report.distributions import draw_distributions
from mlopt.report.step_plot import draw_steps
from mlopt.report.tradeoff import draw_tradeoff
from mlopt.report.walk import draw_walks
from mlopt.types.run import Run

STEPS, CURVES, WALK = "steps.svg", "training.svg", "mixed-precision.svg"
"""Plots that stand beside the steps or the walks, not beside the candidates."""


def draw_plots(run: Run, run_dir: Path) -> dict[str, bytes]:
    """SVG by file name; a plot that would be empty is left out.

    Raises:
        RunError: The samples of a measurement are missing or damaged.
    """
    with style():
        drawn = {
            "tradeoff.svg": draw_tradeoff(run),
            "latency.svg": draw_distributions(run, run_dir),
            STEPS: draw_steps(run),
            CURVES: draw_curves(run),
            WALK: draw_walks(run),
        }
    return {name: svg for name, svg in drawn.items() if svg is not None}

"""The plots of a run."""

from __future__ import annotations

from pathlib import Path

from mlopt.report.canvas import style
from mlopt.report.distributions import draw_distributions
from mlopt.report.tradeoff import draw_tradeoff
from mlopt.types.run import Run


def draw_plots(run: Run, run_dir: Path) -> dict[str, bytes]:
    """SVG by file name; a plot that would be empty is left out.

    Raises:
        RunError: The samples of a measurement are missing or damaged.
    """
    with style():
        drawn = {
            "tradeoff.svg": draw_tradeoff(run),
            "latency.svg": draw_distributions(run, run_dir),
        }
    return {name: svg for name, svg in drawn.items() if svg is not None}

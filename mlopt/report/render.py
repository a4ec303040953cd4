"""Writes ``plots/*.svg`` and then ``adr.md`` into the directory of a run."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlopt.errors import RunError
from mlopt.report.plots import draw_plots
from mlopt.report.view import AdrView, build_view
from mlopt.store.files import write_atomically
from mlopt.store.rundir import ADR, RunDirectory

if TYPE_CHECKING:
    from jinja2 import Template

PLOTS = "plots"


def write_report(run_dir: Path) -> Path:
    """Renders the run in ``run_dir``; the same run gives the same bytes.

    Returns:
        Path of ``adr.md``, which is written last.

    Raises:
        RunError: The run, or the samples of a measurement, cannot be read.
    """
    run = RunDirectory(run_dir).read_run()
    drawings = draw_plots(run, run_dir)
    folder = run_dir / PLOTS
    try:
        if drawings:
            folder.mkdir(exist_ok=True)
        for stale in sorted(folder.glob("*.svg")):
            if stale.name not in drawings:
                stale.unlink()
        for name, svg in drawings.items():
            write_atomically(folder / name, svg)
        plots = tuple(f"{PLOTS}/{name}" for name in drawings)
        write_atomically(run_dir / ADR, render_adr(build_view(run, plots)))
    except OSError as e:
        raise RunError(f"the report cannot be written to {run_dir}: {e.strerror}.") from e
    return run_dir / ADR


def render_adr(view: AdrView) -> str:
    """The Markdown of a report."""
    text = _template().render(view._asdict())
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # Markdown: every text is escaped where the view is built
        loader=PackageLoader("mlopt.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701
    )
    return environment.get_template("adr.md.j2")

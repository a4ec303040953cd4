"""What ``mlopt optimize`` says at its end."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mlopt.cli.console import table

if TYPE_CHECKING:
    from mlopt.api._optimize import OptimizeResult
    from mlopt.types.decision import Decision

COLUMNS = {
    "name": "candidate",
    "p50": "p50, ms",
    "p99": "p99, ms",
    "ratio": "p50 ratio",
    "delta": "delta",
    "size": "size",
    "verdict": "verdict",
}
NUMBERS = {"p50", "p99", "ratio", "delta", "size"}
COLOURS = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}
REPORT = "adr.md"


def summary(result: OptimizeResult) -> Iterator[RenderableType]:
    """The candidates, the decision, its verdicts, and where the report is."""
    if result.rows:
        yield table(result.rows, COLUMNS, NUMBERS)
        yield ""
    if result.run.decision is not None:
        yield Text(result.sentence)
        if result.run.decision.verdicts:
            yield _verdicts(result.run.decision)
        yield ""
    if result.run.partial is not None:
        yield Text.assemble(("partial: ", COLOURS["INCONCLUSIVE"]), result.run.partial)
    if result.run.status == "interrupted":
        project = shlex.split(result.run.plan.command)[2:3]
        words = ["mlopt", "optimize", *project, "--resume", display_path(result.run_dir)]
        yield Text(f"go on with: {shlex.join(words)}", no_wrap=True)
    report = result.run_dir / REPORT
    # In one piece even where it is wider than the terminal, so that it can be copied.
    yield Text(display_path(report if report.is_file() else result.run_dir), no_wrap=True)


def _verdicts(decision: Decision) -> Table:
    lines = Table(box=None, pad_edge=False, show_header=False)
    lines.add_column(no_wrap=True)
    lines.add_column(overflow="fold")
    for verdict in decision.verdicts:
        words = Text(verdict.line)
        if verdict.observed is not None:
            words.append(f": {verdict.shown}")
        if verdict.settles is not None:
            words.append(f"; {verdict.settles}")
        lines.add_row(Text(verdict.outcome, style=COLOURS[verdict.outcome]), words)
    return lines


def display_path(path: Path) -> str:
    """``path`` relative to the current directory where it lies below it."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # keeps links as the user wrote them
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)

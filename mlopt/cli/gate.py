"""``mlopt gate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlopt.cli.console import print_json, print_note, print_result, print_text, print_warning, table
from mlopt.cli.optimize import Budget, MaxDrop, ProjectArgument
from mlopt.cli.options import Debug, Json, Quiet, Seed, duration, share

if TYPE_CHECKING:
    from mlopt.api._gate import GateResult

Candidate = Annotated[
    str | None,
    typer.Option(
        "--candidate",
        metavar="NAME",
        help="What is checked: a file, an artifact, a run, RUN:CANDIDATE. Default: 'ship'.",
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        envvar="MLOPT_REFERENCE",
        metavar="NAME",
        help="What it is timed beside, in the same forms. Default: 'reference', or the baseline.",
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        envvar="MLOPT_TOLERANCE",
        parser=share,
        metavar="SHARE",
        help="How much slower the p50 may be than the reference's. Default: 0.02, for 2%.",
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        parser=duration,
        metavar="SECONDS",
        help="Wall-clock limit of the timing (20, 90s, 5m); a load has as much again. Default: 60.",
    ),
]
JUnit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", help="Write JUnit XML: one test case for each line."),
]
GitHub = Annotated[
    bool | None,
    typer.Option(
        "--github/--no-github",
        help="Annotations and a step summary. Default: where GITHUB_ACTIONS is true.",
        show_default=False,
    ),
]

COLUMNS = {
    "outcome": "verdict",
    "line": "line",
    "observed": "observed",
    "settles": "what would settle it",
}


def gate(
    project: ProjectArgument = Path(),
    *,
    candidate: Candidate = None,
    reference: Reference = None,
    budget: Budget = None,
    max_drop: MaxDrop = None,
    tolerance: Tolerance = None,
    max_seconds: MaxSeconds = None,
    junit: JUnit = None,
    github: GitHub = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    _debug: Debug = False,
) -> None:
    """Check what ships against the budget, the margins and a reference; never train."""
    from mlopt import api
    from mlopt.cli.progress import watching

    with watching(quiet=quiet) as on_event:
        result = api.gate(
            project,
            candidate=candidate,
            reference=reference,
            budget=budget or (),
            max_drop=max_drop,
            tolerance=tolerance,
            max_seconds=max_seconds,
            junit=junit,
            github=github,
            seed=seed,
            on_event=on_event,
        )
    _show(result, json=json, quiet=quiet)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _show(result: GateResult, *, json: bool, quiet: bool) -> None:
    from rich.text import Text

    from mlopt.cli.summary import COLOURS

    # The runner reads both streams; stdout is left to the one document of --json.
    for one in result.annotations:
        (print_note if json else _print_line)(one)
    if json:
        print_json(result.document())
    elif not quiet:
        print_result(table(result.rows, COLUMNS), "")
        outcome, colon, rest = result.sentence.partition(":")
        print_result(Text.assemble((outcome, COLOURS[result.report.outcome]), colon, rest))
        print_result(*result.notes)
    elif result.exit_code:
        print_warning(result.sentence)


def _print_line(text: str) -> None:
    print_text(text + "\n")

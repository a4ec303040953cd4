"""``mlopt report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli.console import print_json, print_text
from mlopt.cli.options import Debug, Json, Quiet

Run = Annotated[Path, typer.Argument(help="Directory of a run, reports/<project>-<time>.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Recompute every number from the raw samples, and name those that differ (exit code 3).",
    ),
]
OfProject = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="With --verify: the run's project, for metrics and slices of its own. Runs its code.",
    ),
]


def report(
    run: Run,
    *,
    verify: Verify = False,
    project: OfProject = None,
    json: Json = False,
    quiet: Quiet = False,
    _debug: Debug = False,
) -> None:
    """Render the report of a stored run again, or verify it."""
    from mlopt import api
    from mlopt.cli.summary import display_path

    if not verify:
        for given, option in ((project is not None, "--project"), (json, "--json")):
            if given:
                raise typer.BadParameter(f"{option} goes with --verify.")
        print_text(display_path(api.render_report(run)) + "\n")
        return
    from mlopt.cli.progress import watching
    from mlopt.cli.verification import verification_lines

    with watching(quiet=quiet) as on_event:
        found = api.verify(run, project=project, on_event=on_event)
    if json:
        print_json(found.document())
    elif not quiet or found.exit_code:
        print_text("\n".join(verification_lines(found)) + "\n")
    if found.exit_code:
        raise typer.Exit(found.exit_code)

"""``mlopt report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli.console import print_text
from mlopt.cli.options import Debug

Run = Annotated[Path, typer.Argument(help="Directory of a run, reports/<project>-<time>.")]


def report(run: Run, _debug: Debug = False) -> None:
    """Render the report of a stored run again."""
    from mlopt import api
    from mlopt.cli.summary import display_path

    print_text(display_path(api.render_report(run)) + "\n")

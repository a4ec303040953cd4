"""``mlopt schema``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mlopt.cli.console import print_json
from mlopt.cli.options import Debug

Name = Annotated[
    Literal["project", "recipe", "run"],
    typer.Argument(help="mlopt.yaml, a recipe's file, or the run.json of a run."),
]


def schema(name: Name, _debug: Debug = False) -> None:
    """Print the JSON schema of a file, for editors and other programs."""
    from mlopt import api

    print_json(api.schema(name))

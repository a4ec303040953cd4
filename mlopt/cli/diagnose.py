"""``mlopt diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlopt.cli.completion import complete_provider
from mlopt.cli.console import print_json, print_result
from mlopt.cli.options import Debug, Json, Model, Quiet, Seed

if TYPE_CHECKING:
    from rich.table import Table

    from mlopt.report.diagnosis import Part

Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        "-p",
        envvar="MLOPT_PROVIDER",
        help="Execution provider. Default: the one that the model is meant for, else the CPU.",
        autocompletion=complete_provider,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="An .npz file with an array for each input. Default: synthetic."),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Examples in one inference. Default: what the model insists on, else 1.",
    ),
]


def diagnose(
    model: Model,
    *,
    provider: Provider = None,
    data: Data = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    _debug: Debug = False,
) -> None:
    """Say why a model is as fast as it is, and what to try next."""
    from mlopt import api
    from mlopt.cli.progress import watching

    with watching(quiet=quiet) as on_event:
        result = api.diagnose(
            model,
            provider=provider,
            data=data,
            batch_size=batch_size,
            seed=seed,
            on_event=on_event,
        )
    if json:
        print_json(result.document())
    elif not quiet:
        print_result(result.sentence)
        for part in result.parts:
            print_result("", part.title, _table(part))
        for title, lines in (
            ("Findings", result.findings),
            ("What to try next", result.advice),
            ("Notes", result.notes),
        ):
            if lines:
                print_result("", title, *(f"- {line}" for line in lines))


def _table(part: Part) -> Table:
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False, header_style="bold")
    for i, title in enumerate(part.header):
        # Folding loses nothing on a narrow terminal, where an ellipsis would hide a number.
        found.add_column(title, overflow="fold", justify="right" if i in part.numbers else "left")
    for row in part.rows:
        found.add_row(*map(Text, row))
    return found

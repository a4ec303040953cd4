"""``mlopt compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli.completion import complete_provider
from mlopt.cli.console import print_json, print_result, table
from mlopt.cli.options import FORMS, Debug, Json, Quiet, Seed, duration

A = Annotated[
    str, typer.Argument(help=f"What ratios are over: {FORMS}, with @PROVIDER if need be.")
]
B = Annotated[str, typer.Argument(help="The other one, in the same forms.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="An .npz file with an array for each input. Default: synthetic."),
]
ProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="Directory of mlopt.yaml: both answer its holdout, and are compared on it.",
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        "-p",
        envvar="MLOPT_PROVIDER",
        help="Execution provider of both, unless their names say so.",
        autocompletion=complete_provider,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size", envvar="MLOPT_BATCH_SIZE", min=1, help="Examples in one inference."
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        parser=duration,
        metavar="SECONDS",
        help="Wall-clock limit of the timing (20, 90s, 5m). Default: 60.",
    ),
]
Launches = Annotated[
    int | None,
    typer.Option("--launches", min=1, help="Lives of the timed processes, at least. Default: 5."),
]

DEFAULT_S = 60.0

COLUMNS = {"quantity": "", "a": "A", "b": "B", "ratio": "B over A"}
NUMBERS = {"a", "b", "ratio"}


def compare(
    a: A,
    b: B,
    *,
    data: Data = None,
    project: ProjectOption = None,
    provider: Provider = None,
    batch_size: BatchSize = 1,
    max_seconds: MaxSeconds = None,
    launches: Launches = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    _debug: Debug = False,
) -> None:
    """Time two artifacts side by side, and say which is faster if that can be told."""
    from mlopt import api
    from mlopt.cli.progress import watching

    with watching(quiet=quiet) as on_event:
        result = api.compare(
            a,
            b,
            data=data,
            project=project,
            provider=provider,
            batch_size=batch_size,
            max_seconds=DEFAULT_S if max_seconds is None else max_seconds,
            launches=launches,
            seed=seed,
            on_event=on_event,
        )
    if json:
        print_json(result.document())
    elif not quiet:
        names = (f"A: {a}", f"B: {b}")
        print_result(result.sentence, *names, "", table(result.rows, COLUMNS, NUMBERS), "")
        print_result(*result.notes)

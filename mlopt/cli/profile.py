"""``mlopt profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli.console import print_json, print_result, table
from mlopt.cli.options import BatchSizes, Debug, Json, Providers, Quiet, Seed, TimeLimit

Model = Annotated[Path, typer.Argument(help="An .onnx file, or an artifact that mlopt made.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="An .npz file with an array for each input. Default: synthetic."),
]
Launches = Annotated[int, typer.Option("--launches", min=1, help="Lives of the timed process.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Rounds in each launch.")]

COLUMNS = {
    "provider": "provider",
    "batch": "batch",
    "p50": "p50",
    "p90": "p90",
    "p99": "p99",
    "mean": "mean",
    "cold_start": "cold start",
    "rss": "peak RSS",
    "placement": "placement",
}
NUMBERS = {"batch", "p50", "p90", "p99", "mean", "cold_start", "rss"}


def profile(
    model: Model,
    *,
    provider: Providers = None,
    batch_size: BatchSizes = None,
    data: Data = None,
    launches: Launches = 5,
    rounds: Rounds = 12,
    time_limit: TimeLimit = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    _debug: Debug = False,
) -> None:
    """Time one model on one or more execution providers."""
    from mlopt import api
    from mlopt.cli.progress import watching

    with watching(quiet=quiet) as on_event:
        result = api.profile(
            model,
            providers=provider or (),
            batch_sizes=batch_size or (),
            data=data,
            seed=seed,
            launches=launches,
            rounds=rounds,
            time_limit_s=time_limit,
            on_event=on_event,
        )
    if json:
        print_json(result.document())
    elif not quiet:
        print_result(table(result.rows, COLUMNS, NUMBERS), *result.notes)
    if result.exit_code:
        raise typer.Exit(result.exit_code)

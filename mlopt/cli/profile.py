"""``mlopt profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli.console import print_json, print_result, table
from mlopt.cli.options import BatchSizes, Debug, Json, Model, Providers, Quiet, Seed, TimeLimit

Data = Annotated[
    Path | None,
    typer.Option("--data", help="An .npz file with an array for each input. Default: synthetic."),
]
Launches = Annotated[
    int | None,
    typer.Option(
        "--launches",
        min=1,
        help="Lives of the timed process. Default: 5 to 12, as precision needs.",
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Rounds in each launch.")]

LOAD = "Load (with --load)"
Load = Annotated[
    bool,
    typer.Option(
        "--load", help="Measure throughput and latency under load too.", rich_help_panel=LOAD
    ),
]
Callers = Annotated[
    list[int] | None,
    typer.Option(
        "--callers",
        min=1,
        help="Callers of a closed loop (repeatable). Default: 1, and one for each processor.",
        rich_help_panel=LOAD,
    ),
]
Rates = Annotated[
    list[float] | None,
    typer.Option(
        "--rate",
        metavar="QPS",
        help="Poisson arrivals a second (repeatable).",
        rich_help_panel=LOAD,
    ),
]
P99 = Annotated[
    str | None,
    typer.Option(
        "--p99",
        metavar="TIME",
        help="Look for the highest rate that keeps this p99, such as '5 ms'.",
        rich_help_panel=LOAD,
    ),
]
TargetQps = Annotated[
    float | None,
    typer.Option(
        "--target-qps",
        metavar="QPS",
        help="Say how many replicas serve this rate; needs --p99.",
        rich_help_panel=LOAD,
    ),
]
Headroom = Annotated[
    float | None,
    typer.Option(
        "--headroom",
        metavar="SHARE",
        help="Share of a replica that is kept free; needs --target-qps. Default: 0.3.",
        rich_help_panel=LOAD,
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        metavar="S",
        help="Seconds at one load. Default: 20, and up to 60 where needed.",
        rich_help_panel=LOAD,
    ),
]

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
LOAD_COLUMNS = {
    "provider": "provider",
    "batch": "batch",
    "loop": "loop",
    "callers": "callers",
    "rate": "rate, /s",
    "throughput": "throughput, /s",
    "p50": "p50",
    "p99": "p99",
    "sustained": "sustained",
}
LOAD_NUMBERS = {"batch", "callers", "rate", "throughput", "p50", "p99"}
NUMBERS = {"batch", "p50", "p90", "p99", "mean", "cold_start", "rss"}


def profile(
    model: Model,
    *,
    provider: Providers = None,
    batch_size: BatchSizes = None,
    data: Data = None,
    launches: Launches = None,
    rounds: Rounds = 48,
    time_limit: TimeLimit = None,
    load: Load = False,
    callers: Callers = None,
    rate: Rates = None,
    p99: P99 = None,
    target_qps: TargetQps = None,
    headroom: Headroom = None,
    seconds: Seconds = None,
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
            load=load,
            callers=callers or (),
            rates=rate or (),
            p99=p99,
            target_qps=target_qps,
            headroom=headroom,
            seconds=seconds,
            on_event=on_event,
        )
    if json:
        print_json(result.document())
    elif not quiet:
        print_result(table(result.rows, COLUMNS, NUMBERS))
        if result.load_rows:
            print_result("", table(result.load_rows, LOAD_COLUMNS, LOAD_NUMBERS))
        print_result(*result.notes)
    if result.exit_code:
        raise typer.Exit(result.exit_code)

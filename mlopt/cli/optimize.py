"""``mlopt optimize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlopt.cli.completion import complete_recipe
from mlopt.cli.console import print_json, print_result, print_warning
from mlopt.cli.options import (
    BatchSizes,
    Debug,
    Json,
    Providers,
    Quiet,
    Seed,
    TimeLimit,
    positive,
)

if TYPE_CHECKING:
    from mlopt.api._optimize import OptimizeResult
    from mlopt.types.plan import Plan

ProjectArgument = Annotated[
    Path, typer.Argument(help="Directory of mlopt.yaml, or the file itself.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", envvar="MLOPT_OUT", help="Directory of the runs. Default: reports."),
]
Recipes = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        "-r",
        envvar="MLOPT_RECIPE",
        help="Recipe to try: a name or a .yaml file (repeatable). Default: those of mlopt.yaml.",
        autocompletion=complete_recipe,
    ),
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        "-b",
        envvar="MLOPT_BUDGET",
        metavar="LINE",
        help="Limit to keep, such as 'p99<5ms' or 'size<10MB' (repeatable; replaces the file's).",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        envvar="MLOPT_MAX_DROP",
        parser=positive,
        metavar="NUMBER",
        help="Largest acceptable loss of the first metric, in its own units.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, print the plan, measure nothing.")
]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="RUN", help="Go on with an interrupted run's directory."),
]
AllowFallback = Annotated[
    bool,
    typer.Option(
        "--allow-fallback",
        envvar="MLOPT_ALLOW_FALLBACK",
        help="Accept candidates that run partly on another provider.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", envvar="MLOPT_NO_CACHE", help="Build every artifact anew."),
]
NoPredictions = Annotated[
    bool,
    typer.Option(
        "--no-predictions",
        envvar="MLOPT_NO_PREDICTIONS",
        help="Leave predictions and targets out of the stored run.",
    ),
]


def optimize(
    project: ProjectArgument = Path(),
    *,
    out: Out = None,
    recipe: Recipes = None,
    provider: Providers = None,
    budget: Budget = None,
    max_drop: MaxDrop = None,
    batch_size: BatchSizes = None,
    time_limit: TimeLimit = None,
    dry_run: DryRun = False,
    resume: Resume = None,
    seed: Seed = 0,
    allow_fallback: AllowFallback = False,
    no_cache: NoCache = False,
    no_predictions: NoPredictions = False,
    json: Json = False,
    quiet: Quiet = False,
    _debug: Debug = False,
) -> None:
    """Build candidates, measure them side by side, decide, and write the report."""
    from mlopt import api
    from mlopt.cli.progress import watching
    from mlopt.cli.summary import display_path

    if dry_run and resume is not None:
        raise typer.BadParameter("--dry-run plans a new run: leave --resume out.")
    question: dict[str, Any] = {
        "recipes": recipe or (),
        "providers": provider or (),
        "budget": budget or (),
        "max_drop": max_drop,
        "batch_sizes": batch_size or (),
        "seed": seed,
        "time_limit_s": time_limit,
        "allow_fallback": allow_fallback,
    }
    storage: dict[str, Any] = {
        "out": out,
        "use_cache": not no_cache,
        "keep_predictions": not no_predictions,
        "resume": resume,
    }
    with watching(quiet=quiet) as on_event:
        if dry_run:
            plan = api.plan(project, **question, on_event=on_event)
        else:
            result = api.optimize(project, **question, **storage, on_event=on_event)
    if dry_run:
        _show_plan(plan, json=json, quiet=quiet)
        return
    _show_result(result, json=json, quiet=quiet)
    if quiet and result.exit_code:
        print_warning(f"{result.sentence} See {display_path(result.run_dir)}.")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _show_plan(plan: Plan, *, json: bool, quiet: bool) -> None:
    from mlopt.cli.plan_tree import plan_tree

    if json:
        print_json(plan.model_dump(mode="json"))
    elif not quiet:
        print_result(plan_tree(plan))


def _show_result(result: OptimizeResult, *, json: bool, quiet: bool) -> None:
    from mlopt.cli.summary import summary

    if json:
        print_json(result.document())
    elif not quiet:
        print_result(*summary(result))

"""``mlopt recipes``: list, show, validate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mlopt.cli.completion import complete_recipe
from mlopt.cli.console import print_json, print_result, print_text, table
from mlopt.cli.options import COMMAND, GROUP, Debug, GroupHelp, Json

if TYPE_CHECKING:
    from mlopt.recipe import FoundRecipe

app = typer.Typer(**GROUP)

Name = Annotated[
    str,
    typer.Argument(help="A recipe, or a .yaml file.", autocompletion=complete_recipe),
]
Files = Annotated[list[Path], typer.Argument(help="Recipe files, or directories of them.")]

COLUMNS = {"name": "recipe", "summary": "what it makes", "when": "when to use it"}


@app.callback(invoke_without_command=True)
def recipes(
    context: typer.Context,
    _help: GroupHelp = False,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """List the recipes; show one; validate your own."""
    if context.invoked_subcommand is not None:
        return
    from mlopt import api

    found = api.list_recipes(_project_here())
    if json:
        print_json({"recipes": [_document(one) for one in found]})
    else:
        print_result(table([_row(one) for one in found], COLUMNS))


@app.command(**COMMAND)
def show(name: Name, _debug: Debug = False) -> None:
    """Print a recipe's file; copy it into your project's recipes/ to change it."""
    from mlopt import api

    print_text(api.show_recipe(name, _project_here()))


@app.command(**COMMAND)
def validate(files: Files, _debug: Debug = False) -> None:
    """Check recipe files, and report every mistake in them."""
    from mlopt import api

    for recipe in api.validate_recipes(files):
        print_text(f"{recipe.name}: ok\n")


class _Row(NamedTuple):
    name: str
    summary: str
    when: str


def _row(found: FoundRecipe) -> _Row:
    origin = "" if found.built_in else " (of this project)"
    return _Row(found.recipe.name + origin, found.recipe.summary, found.recipe.when)


def _document(found: FoundRecipe) -> dict[str, Any]:
    return {**found.recipe.model_dump(mode="json"), "built_in": found.built_in}


def _project_here() -> Path | None:
    """The current directory, if it is a project's."""
    from mlopt.project import FILE

    return Path() if Path(FILE).is_file() else None

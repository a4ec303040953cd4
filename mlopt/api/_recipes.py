"""``mlopt recipes``: the recipes there are, the text of one, and a check of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlopt import recipe
from mlopt.errors import ConfigError
from mlopt.project import FILE
from mlopt.recipe import FoundRecipe, Recipe


def list_recipes(project: Path | None = None) -> list[FoundRecipe]:
    """Every built-in recipe, and the project's own, which win by name.

    Args:
        project: A project's directory or its ``mlopt.yaml``; None: only the built-in ones.

    Raises:
        ConfigError: There is no such project, or a recipe is wrong.
    """
    return recipe.list_recipes(_directory(project))


def show_recipe(name: str, project: Path | None = None) -> str:
    """The text of a recipe's file, comments and all.

    Args:
        name: Its name, or the path of a ``.yaml`` file.
        project: A project whose own recipes count as well.

    Raises:
        ConfigError: There is no such recipe or project, or the recipe is wrong.
    """
    return recipe.find_recipe(name, _directory(project)).path.read_text(encoding="utf-8")


def validate_recipes(paths: Sequence[Path]) -> list[Recipe]:
    """Reads recipe files.

    Args:
        paths: Files, or directories of ``.yaml`` files.

    Returns:
        The recipes, in the order of their files.

    Raises:
        ConfigError: Something is wrong; one line for each mistake in any of the files.
    """
    recipes: list[Recipe] = []
    mistakes: list[str] = []
    for path in paths:
        files = sorted(path.glob("*.yaml"), key=lambda file: file.stem) if path.is_dir() else [path]
        if not files:
            mistakes.append(f"{path} holds no .yaml file. Check the path.")
        for file in files:
            try:
                recipes.append(recipe.read_recipe(file, shown=file.as_posix()))
            except ConfigError as e:
                mistakes.append(str(e))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return recipes


def _directory(project: Path | None) -> Path | None:
    if project is None:
        return None
    directory = project.parent if project.is_file() else project
    if not (directory / FILE).is_file():
        raise ConfigError(f"there is no {FILE} in '{project}'. Give the directory of a project.")
    return directory

"""Finding and reading recipes: built-in ones by name, the user's by name or path."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import mlopt
from mlopt.errors import ConfigError, Problems, did_you_mean
from mlopt.recipe.checks import check_recipe
from mlopt.recipe.schema import Recipe
from mlopt.types.validation import validate
from mlopt.types.yaml_file import read_yaml


class FoundRecipe(NamedTuple):
    """A recipe, and where it was found."""

    recipe: Recipe
    path: Path
    built_in: bool


def builtin_dir() -> Path:
    """Where the recipes of mlopt stand: inside an installed package, or beside a checkout's."""
    package = Path(mlopt.__file__).parent
    packaged = package / "_recipes"
    return packaged if packaged.is_dir() else package.parent / "recipes"


def list_recipes(project_dir: Path | None = None) -> list[FoundRecipe]:
    """Every built-in recipe, and those in the project's own ``recipes/``, which win by name.

    Raises:
        ConfigError: One of them is wrong.
    """
    found = {path.stem: (path, True) for path in builtin_dir().glob("*.yaml")}
    if project_dir is not None:
        found |= {path.stem: (path, False) for path in (project_dir / "recipes").glob("*.yaml")}
    return [
        FoundRecipe(read_recipe(path, shown=f"recipes/{path.name}"), path, built_in)
        for _, (path, built_in) in sorted(found.items())
    ]


def find_recipe(name: str, project_dir: Path | None = None) -> FoundRecipe:
    """A recipe by its name, or by the path of a ``.yaml`` file.

    A path is relative to the project, as in mlopt.yaml, or else to the current directory, as on a
    command line.

    Raises:
        ConfigError: There is none, or it is wrong.
    """
    if name.endswith((".yaml", ".yml")):
        places = [Path(name)] if project_dir is None else [project_dir / name, Path(name)]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise ConfigError(f"there is no recipe file '{name}'. Check the path.")
        return FoundRecipe(read_recipe(path, shown=name), path, built_in=False)
    directories = (
        [builtin_dir()] if project_dir is None else [project_dir / "recipes", builtin_dir()]
    )
    for directory in directories:
        path = directory / f"{name}.yaml"
        if path.is_file():
            return FoundRecipe(
                read_recipe(path, f"recipes/{path.name}"), path, directory == builtin_dir()
            )
    known = [path.stem for directory in directories for path in directory.glob("*.yaml")]
    raise ConfigError(f"unknown recipe '{name}'. {did_you_mean(name, known)}")


def read_recipe(path: Path, shown: str) -> Recipe:
    """Reads a recipe file.

    Args:
        path: The file.
        shown: Its name for messages.

    Raises:
        ConfigError: It is wrong; one line for each mistake.
    """
    problems = Problems(shown)
    recipe = validate(Recipe, read_yaml(path, shown), problems)
    if recipe is not None:
        if recipe.name != path.stem:
            problems.add(
                "name", f"'{recipe.name}' differs from the file's name. Call it '{path.stem}'."
            )
        check_recipe(recipe, problems)
    problems.raise_if_any(ConfigError)
    assert recipe is not None  # otherwise there were problems
    return recipe

"""What the shell offers for an option's value."""

from __future__ import annotations

from pathlib import Path


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes, the built-in ones and those in ``./recipes``."""
    from mlopt.recipe.load import builtin_dir

    files = [*builtin_dir().glob("*.yaml"), *Path("recipes").glob("*.yaml")]
    return sorted({file.stem for file in files if file.stem.startswith(incomplete)})


def complete_provider(incomplete: str) -> list[str]:
    """Names of the providers that mlopt knows."""
    from mlopt.providers import PROVIDERS
    from mlopt.providers.generic import GenericProvider

    named = (name for name, kind in PROVIDERS.entries.items() if kind is not GenericProvider)
    return [name for name in named if name.startswith(incomplete)]

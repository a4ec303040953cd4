"""What the shell offers for an option's value."""

from __future__ import annotations

from pathlib import Path


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes, the built-in ones and those in ``./recipes``."""
    from mlopt.recipe.load import builtin_dir

    files = [*builtin_dir().glob("*.yaml"), *Path("recipes").glob("*.yaml")]
    return sorted({file.stem for file in files if file.stem.startswith(incomplete)})


def complete_provider(incomplete: str) -> list[str]:
    """Names of the providers that mlopt knows, and of their variants."""
    from mlopt.providers import known_providers

    return [name for name in known_providers() if name.startswith(incomplete)]

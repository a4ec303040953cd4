"""``mlopt schema``: JSON schemas, for editors and for readers of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlopt import project, recipe
from mlopt.errors import ConfigError, did_you_mean
from mlopt.types.run import Run

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "project": project.json_schema,
    "recipe": recipe.json_schema,
    "run": Run.model_json_schema,
}


def schema(name: str) -> dict[str, Any]:
    """A JSON schema.

    Args:
        name: ``project`` (mlopt.yaml), ``recipe`` (recipes/*.yaml) or ``run`` (run.json).

    Raises:
        ConfigError: There is no schema of that name.
    """
    if name not in SCHEMAS:
        raise ConfigError(f"there is no schema '{name}'. {did_you_mean(name, SCHEMAS)}")
    return {"$schema": DIALECT, **SCHEMAS[name]()}

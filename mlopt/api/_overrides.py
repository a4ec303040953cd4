"""What the command line changes in a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mlopt.errors import ConfigError
from mlopt.pipeline.planning import override_budget
from mlopt.project import LoadedProject, MetricSpec, Project


class Overrides(NamedTuple):
    """What the command line changes in a project."""

    recipes: Sequence[str] = ()
    providers: Sequence[str] = ()
    budget: Sequence[str] = ()
    max_drop: float | None = None
    batch_sizes: Sequence[int] = ()
    allow_fallback: bool = False

    def apply(self, loaded: LoadedProject) -> LoadedProject:
        """The project with the changes.

        Raises:
            ConfigError: A value is wrong, or does not fit the rest.
        """
        project = loaded.project
        changes: dict[str, Any] = {}
        if self.recipes:
            changes["recipes"] = tuple(self.recipes)
        if self.providers:
            changes["providers"] = tuple(self.providers)
        if self.budget:
            changes["budget"] = override_budget(self.budget)
        if self.batch_sizes:
            if any(size < 1 for size in self.batch_sizes):
                raise ConfigError("--batch-size must be at least 1.")
            changes["batch_sizes"] = tuple(self.batch_sizes)
        if self.allow_fallback:
            changes["allow_fallback"] = True
        if self.max_drop is not None:
            changes["metrics"] = _with_max_drop(project, self.max_drop)
        changed = project.model_copy(update=changes)
        if mistakes := changed.mistakes():
            raise ConfigError("\n".join(f"{place}: {message}" for place, message in mistakes))
        return loaded._replace(project=changed)

    def arguments(self) -> list[str]:
        """The options that say the same on a command line."""
        options = [
            ("--recipe", self.recipes),
            ("--provider", self.providers),
            ("--budget", self.budget),
        ]
        words = [word for name, values in options for value in values for word in (name, value)]
        words += [word for size in self.batch_sizes for word in ("--batch-size", str(size))]
        if self.max_drop is not None:
            words += ["--max-drop", str(self.max_drop)]
        return [*words, "--allow-fallback"] if self.allow_fallback else words


def _with_max_drop(project: Project, max_drop: float) -> tuple[MetricSpec, ...]:
    if not max_drop > 0:
        raise ConfigError(f"--max-drop must be positive, and is {max_drop:g}.")
    first = project.metrics[0].model_copy(update={"max_drop": max_drop, "max_drop_relative": None})
    return (first, *project.metrics[1:])

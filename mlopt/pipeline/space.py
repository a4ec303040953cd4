"""What a run will try: every choice of every recipe that applies, on every provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mlopt.errors import ConfigError, UnavailableError
from mlopt.machine import usable_cpus
from mlopt.project import LoadedProject
from mlopt.providers import resolve_provider
from mlopt.recipe import Recipe, find_recipe, list_recipes
from mlopt.runners import RUNNERS
from mlopt.types.candidate import PlannedCandidate, Role
from mlopt.types.passes import Brought

REFERENCE = "pytorch"


class Space(NamedTuple):
    """The candidates, and what the user should know about how they came about."""

    candidates: tuple[PlannedCandidate, ...]
    notes: tuple[str, ...]


def candidate_space(loaded: LoadedProject) -> Space:
    """Every expansion of every recipe on every provider, the baseline, and eager PyTorch.

    Recipes of several steps come with their waypoints, so that each step is measured.

    Raises:
        ConfigError: A recipe or provider is unknown, or a recipe that was asked for does not apply.
        UnavailableError: A provider cannot be used here.
    """
    project = loaded.project
    brought = Brought(project.model.produces, has_student=project.student is not None)
    _require_providers((*project.providers, project.baseline.provider))
    found, notes = _applicable(loaded, brought)
    baseline_recipe = find_recipe(project.baseline.recipe, loaded.directory).recipe
    if (reason := baseline_recipe.refuses(brought)) is not None:
        raise ConfigError(f"baseline.recipe: '{project.baseline.recipe}' does not apply: {reason}.")
    expand = _Expansion(brought, project.baseline.provider, project.providers)
    baseline = expand.on(baseline_recipe, project.baseline.provider)[0]
    own = {recipe.name: expand.everywhere(recipe) for recipe in found}
    known = {_identity(one) for several in own.values() for one in several} | {_identity(baseline)}
    candidates = {baseline.name: baseline.model_copy(update={"role": "baseline"})}
    for recipe in found:
        for waypoint in recipe.waypoints(brought.format):
            for one in expand.everywhere(waypoint):
                if _identity(one) not in known:
                    known.add(_identity(one))
                    candidates[one.name] = one.model_copy(update={"recipe": recipe.name})
        for one in own[recipe.name]:
            candidates.setdefault(one.name, one)
    if brought.format == "torch":
        candidates = {REFERENCE: _reference(), **candidates}
    return Space(tuple(candidates.values()), notes)


def _applicable(loaded: LoadedProject, brought: Brought) -> tuple[list[Recipe], tuple[str, ...]]:
    """The recipes to try, and of those that nobody asked for by name, why some are left out.

    Raises:
        ConfigError: A recipe that was asked for is unknown, or does not apply.
    """
    asked = loaded.project.recipes
    found = (
        [find_recipe(name, loaded.directory) for name in asked]
        if asked
        else list_recipes(loaded.directory)
    )
    applicable, notes = [], []
    for recipe in (entry.recipe for entry in found):
        reason = recipe.refuses(brought) or _lacks_split(recipe, loaded)
        if reason is None:
            applicable.append(recipe)
        elif asked:
            raise ConfigError(f"the recipe '{recipe.name}' does not apply: {reason}.")
        else:
            notes.append(f"the recipe '{recipe.name}' does not apply: {reason}")
    return applicable, tuple(notes)


def _lacks_split(recipe: Recipe, loaded: LoadedProject) -> str | None:
    missing = sorted(recipe.reads() - set(loaded.project.data))
    if not missing:
        return None
    splits = " and ".join(f"data.{split}" for split in missing)
    return f"it needs {splits}: add that to mlopt.yaml, or choose recipes with --recipe"


class _Expansion(NamedTuple):
    """How recipes become candidates.

    Attributes:
        home: The baseline's provider, which names of candidates leave out.
        providers: Those of the project.
    """

    brought: Brought
    home: str
    providers: tuple[str, ...]

    def everywhere(self, recipe: Recipe) -> list[PlannedCandidate]:
        """Every choice of a recipe on every provider."""
        return [one for provider in self.providers for one in self.on(recipe, provider)]

    def on(self, recipe: Recipe, provider: str) -> list[PlannedCandidate]:
        """Every choice of a recipe on one provider."""
        label = resolve_provider(provider).label
        elsewhere = "" if label == resolve_provider(self.home).label else f"@{label}"
        settings = RUNNERS["onnxruntime"]().resolve(usable_cpus()).model_dump(mode="json")
        return [
            PlannedCandidate(
                name=recipe.name + _suffix(choices) + elsewhere,
                role="candidate",
                recipe=recipe.name,
                provider=label,
                runner="onnxruntime",
                steps=steps,
                choices=choices,
                settings=settings,
            )
            for steps, choices in recipe.expand(self.brought.format)
        ]


def _identity(candidate: PlannedCandidate) -> str:
    """What a candidate is, whatever it is called."""
    return candidate.model_dump_json(include={"steps", "provider", "runner", "settings"})


def _suffix(choices: dict[str, Any]) -> str:
    if not choices:
        return ""
    return "[" + ",".join(f"{name}={value}" for name, value in choices.items()) + "]"


def _require_providers(names: Sequence[str]) -> None:
    """Checks every provider before it complains of any.

    Raises:
        ConfigError: Some are unknown.
        UnavailableError: Some cannot be used here.
    """
    unknown, unavailable = [], []
    for name in dict.fromkeys(names):
        try:
            resolve_provider(name).require()
        except ConfigError as e:
            unknown.append(str(e))
        except UnavailableError as e:
            unavailable.append(str(e))
    if unknown:
        raise ConfigError("\n".join(unknown))
    if unavailable:
        raise UnavailableError("\n".join(unavailable))


def _reference() -> PlannedCandidate:
    role: Role = "reference"
    return PlannedCandidate(
        name=REFERENCE,
        role=role,
        recipe=None,
        provider="cpu",
        runner="pytorch",
        settings=RUNNERS["pytorch"]().resolve(usable_cpus()).model_dump(mode="json"),
    )

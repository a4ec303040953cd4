"""What a gate names that is not on disk: candidates that the project's own recipes make."""

from __future__ import annotations

from mlopt.errors import ConfigError, did_you_mean
from mlopt.passes import PASSES
from mlopt.pipeline.reference import missing
from mlopt.pipeline.space import candidate_space
from mlopt.project import LoadedProject
from mlopt.recipe import list_recipes
from mlopt.types.candidate import PlannedCandidate


def planned_baseline(loaded: LoadedProject) -> PlannedCandidate:
    """The project's baseline, as ``optimize`` plans it.

    Raises:
        ConfigError: Its recipe is unknown, does not apply, or trains.
        UnavailableError: Its provider cannot be used here.
    """
    name = loaded.project.baseline.recipe
    found = _space(loaded, name, (loaded.project.baseline.provider,))
    baseline = next(one for one in found if one.role == "baseline")
    return _untrained(baseline, "baseline.recipe")


def planned_candidate(loaded: LoadedProject, text: str) -> PlannedCandidate:
    """The candidate of the project's recipes that is called ``text``.

    Raises:
        ConfigError: There is none, or its recipe trains.
        UnavailableError: Its provider cannot be used here.
    """
    recipe = text.partition("[")[0].partition("@")[0]
    known = [one.recipe.name for one in list_recipes(loaded.directory) if one.recipe.steps]
    if recipe not in known:
        raise ConfigError(
            f"{missing(text)} Or name a candidate of a recipe. {did_you_mean(recipe, known)}"
        )
    # Only the provider that is asked for must be there: CI may lack the others of the project.
    _, at, provider = text.rpartition("@")
    found = _space(loaded, recipe, (provider if at else loaded.project.baseline.provider,))
    named = [one for one in found if one.name == text]
    if not named:
        own = ", ".join(one.name for one in found if one.recipe == recipe)
        raise ConfigError(
            f"there is no candidate '{text}'. The recipe '{recipe}' makes {own or 'none'}."
        )
    return _untrained(named[0], text)


def _space(
    loaded: LoadedProject, recipe: str, providers: tuple[str, ...]
) -> tuple[PlannedCandidate, ...]:
    """The candidates of one recipe, and the baseline."""
    changes = {"recipes": (recipe,), "providers": providers}
    return candidate_space(
        loaded._replace(project=loaded.project.model_copy(update=changes))
    ).candidates


def _untrained(planned: PlannedCandidate, place: str) -> PlannedCandidate:
    trained = [s.transformation for s in planned.steps if PASSES[s.transformation].trains]
    if trained:
        raise ConfigError(
            f"{place}: '{planned.name}' is trained ({', '.join(trained)}), and a gate never trains. "
            "Run 'mlopt optimize' once, and name what it made: the directory of the run, or "
            "RUN:CANDIDATE."
        )
    return planned

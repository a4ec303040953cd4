"""What can be wrong with a recipe, each mistake with what mends it."""

from __future__ import annotations

from typing import Any

from mlopt.errors import ConfigError, Problems, did_you_mean
from mlopt.passes import PASSES
from mlopt.providers import ORT, resolve_provider
from mlopt.recipe.schema import Recipe, is_choice
from mlopt.runners import RUNNERS
from mlopt.types.artifact import Format
from mlopt.types.passes import Pass
from mlopt.types.validation import validate

MOST_EXPANSIONS = 256


def check_recipe(recipe: Recipe, problems: Problems) -> None:
    """Notes everything that is wrong with a recipe whose form is right."""
    _check_providers(recipe, problems)
    if recipe.tries:
        _check_composite(recipe, problems)
        return
    if not recipe.steps:
        problems.add("steps", "are missing: list passes, or name recipes under 'tries'.")
        return
    if recipe.tune:
        problems.add("tune", "belongs to a recipe with 'tries'. Remove it, or list recipes there.")
    _check_settings(recipe.session, "session", problems)
    _check_steps(recipe, problems)


def _check_composite(recipe: Recipe, problems: Problems) -> None:
    for key in ("steps", "session", "search"):
        if getattr(recipe, key):
            problems.add(key, "does not go with 'tries'. Put it into one of those recipes.")
    named = [name for names in recipe.alternatives for name in names]
    if recipe.name in named:
        problems.add("tries", f"'{recipe.name}' names itself. Remove it.")
    for name in sorted({name for name in named if named.count(name) > 1}):
        problems.add("tries", f"'{name}' stands there twice. Remove one.")
    for name, values in recipe.tune.items():
        _check_tuned(name, values, problems)


def _check_tuned(name: str, values: list[Any], problems: Problems) -> None:
    """Notes what is neither a session setting nor an option of a pass, and values that do not fit."""
    passes = [kind for kind in PASSES.entries.values() if name in kind.model_fields]
    if name in RUNNERS[ORT].model_fields or not passes:
        _check_settings({name: values}, "tune", problems)
        return
    for one in values:
        unheard = Problems("")
        if all(validate(kind, {name: one}, unheard) is None for kind in passes):
            problems.add("tune", f"'{name}' of {passes[0].name} does not take {one!r}.")


def _check_providers(recipe: Recipe, problems: Problems) -> None:
    for name in recipe.providers:
        try:
            resolve_provider(name)
        except ConfigError as e:
            problems.add("providers", str(e))


def _check_settings(settings: dict[str, Any], place: str, problems: Problems) -> None:
    """Notes settings that the runner does not have, and values that it does not take."""
    kind = RUNNERS[ORT]
    for name, value in settings.items():
        if name not in kind.model_fields:
            problems.add(
                place, f"unknown setting '{name}'. {did_you_mean(name, kind.model_fields)}"
            )
            continue
        if value == []:
            problems.add(place, f"'{name}' is an empty list: give at least one value.")
        for one in value if isinstance(value, list) else [value]:
            validate(kind, {name: one}, problems, place)


def _check_steps(recipe: Recipe, problems: Problems) -> None:
    """Notes unknown passes, wrong options, and steps that do not follow from one another."""
    sound = True
    for i, step in enumerate(recipe.steps):
        sound &= _check_step(step, f"steps[{i}]", problems)
    if not sound:
        return
    current: Format = PASSES[recipe.steps[0]["pass"]].consumes
    count = 1
    for i, step in enumerate(recipe.steps):
        kind = PASSES[step["pass"]]
        if kind.consumes != current:
            problems.add(
                f"steps[{i}] ({kind.name})",
                f"takes a {kind.consumes} model, and the step before makes {current}. Change the order.",
            )
        current = kind.produces
        count *= _count(step)
    if current != "onnx":
        problems.add(
            "steps",
            f"end in the format {current}, which is not deployed. End with export_onnx or a step after it.",
        )
    for value in recipe.session.values():
        count *= len(value) if isinstance(value, list) else 1
    if count > MOST_EXPANSIONS and recipe.search is None:
        problems.add(
            "steps",
            f"expand into {count} candidates; at most {MOST_EXPANSIONS}. Shorten the lists, or "
            "add 'search: {trials: 40}'.",
        )


def _count(step: dict[str, Any]) -> int:
    count = 1
    for name, value in step.items():
        if is_choice(step["pass"], name, value):
            count *= len(value)
    return count


def _check_step(step: dict[str, Any], place: str, problems: Problems) -> bool:
    name = step.get("pass")
    if not isinstance(name, str):
        found = f"is {name!r}" if "pass" in step else "is missing"
        problems.add(place, f"'pass' {found}: name one of {', '.join(PASSES.entries)}.")
        return False
    if name not in PASSES:
        problems.add(place, f"unknown pass '{name}'. {did_you_mean(name, PASSES.entries)}")
        return False
    kind = PASSES[name]
    place = f"{place} ({name})"
    sound = True
    for option, value in step.items():
        if option == "pass":
            continue
        if option not in kind.model_fields:
            problems.add(
                place, f"unknown option '{option}'. {did_you_mean(option, kind.model_fields)}"
            )
            sound = False
        elif is_choice(name, option, value):
            if not value:
                problems.add(place, f"'{option}' is an empty list: give at least one value.")
                sound = False
            if any(one in value[:i] for i, one in enumerate(value)):
                problems.add(place, f"'{option}' lists a value twice: keep one of them.")
                sound = False
            for one in value:
                sound &= _check_options(kind, {option: one}, place, problems)
        else:
            sound &= _check_options(kind, {option: value}, place, problems)
    return sound


def _check_options(
    kind: type[Pass], options: dict[str, Any], place: str, problems: Problems
) -> bool:
    return validate(kind, options, problems, place) is not None

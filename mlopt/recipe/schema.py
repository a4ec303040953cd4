"""A recipe, ``recipes/*.yaml``: an ordered list of passes with their options."""

from __future__ import annotations

import itertools
import typing
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from mlopt.errors import Problems, did_you_mean
from mlopt.passes import PASSES
from mlopt.types.artifact import Format
from mlopt.types.candidate import Step
from mlopt.types.passes import Brought, Pass
from mlopt.types.patterns import RECIPE_NAME
from mlopt.types.record import Record
from mlopt.types.validation import validate

MOST_EXPANSIONS = 256


class Recipe(Record):
    """A recipe.

    Attributes:
        name: The name that ``--recipe`` takes; also the name of its file.
        summary: One line: what it makes.
        when: When to use it, and what it costs.
        steps: Each a mapping with the key ``pass`` and the options of that pass. An option given
            as a list is a choice, and expands into candidates.
    """

    name: Annotated[str, Field(pattern=RECIPE_NAME)]
    summary: str
    when: str
    steps: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]

    def expand(self, source: Format) -> Iterator[Expansion]:
        """Every combination of the choices, in the order of the file.

        Args:
            source: Format of the model as the user brings it. A step that would convert it to
                the format that it has already is left out.
        """
        steps = [step for step in self.steps if not self._is_needless(step, source)]
        choices = [
            (i, name)
            for i, step in enumerate(steps)
            for name, value in step.items()
            if is_choice(step["pass"], name, value)
        ]
        labels = _labels(steps, choices)
        for values in itertools.product(*(steps[i][name] for i, name in choices)):
            resolved = [dict(step) for step in steps]
            for (i, name), value in zip(choices, values, strict=True):
                resolved[i][name] = value
            yield Expansion(
                steps=tuple(
                    Step(transformation=step.pop("pass"), options=step) for step in resolved
                ),
                choices=dict(zip(labels, values, strict=True)),
            )

    def reads(self) -> set[str]:
        """The data splits that its passes read, with any of its choices."""
        return {split for step in self.steps for one in _choices(step) for split in one.reads()}

    def refuses(self, brought: Brought) -> str | None:
        """Why the recipe does not apply to what the user brings; None when it does."""
        current = brought.format
        earlier: tuple[str, ...] = ()
        for step in self.steps:
            if self._is_needless(step, brought.format):
                continue
            kind = PASSES[step["pass"]]
            if kind.consumes != current:
                return f"'{kind.name}' takes a {kind.consumes} model, and gets {current}"
            for one in _choices(step):
                if (reason := one.inapplicable(earlier, brought)) is not None:
                    return reason
            current, earlier = kind.produces, (*earlier, kind.name)
        return None

    def waypoints(self, source: Format) -> Iterator[Recipe]:
        """What the recipe has made after each step but its last one, as recipes of their own.

        Each ends in a format that is deployed, by the recipe's own conversion. A conversion by
        itself is no waypoint: it makes the baseline.
        """
        steps = [step for step in self.steps if not self._is_needless(step, source)]
        names = Counter[str]()
        for i, step in enumerate(steps[:-1]):
            kind = PASSES[step["pass"]]
            if kind.consumes != kind.produces:
                continue
            rest = steps[i + 1 :]
            conversion = next((s for s in rest if PASSES[s["pass"]].produces == "onnx"), None)
            ending = [conversion] if kind.produces != "onnx" and conversion is not None else []
            if rest == ending:
                continue  # it is the recipe itself
            names[kind.name] += 1
            number = f"-{names[kind.name]}" if names[kind.name] > 1 else ""
            yield self.model_copy(
                update={
                    "name": f"{self.name}:{kind.name}{number}",
                    "steps": (*steps[: i + 1], *ending),
                }
            )

    @staticmethod
    def _is_needless(step: dict[str, Any], source: Format) -> bool:
        kind = PASSES[step["pass"]]
        return kind.consumes != kind.produces == source


class Expansion(NamedTuple):
    """A recipe with one value for each option; ``choices`` are those that had several."""

    steps: tuple[Step, ...]
    choices: dict[str, Any]


def _labels(steps: list[dict[str, Any]], choices: list[tuple[int, str]]) -> list[str]:
    """A name for each choice: its option, with the pass or the place where that is not enough."""
    short = [name for _, name in choices]
    longer = [f"{steps[i]['pass']}.{name}" for i, name in choices]
    longest = [f"steps[{i}].{name}" for i, name in choices]
    return [
        next((label for labels in (short, longer) if labels.count(label := labels[k]) == 1), full)
        for k, full in enumerate(longest)
    ]


def _choices(step: dict[str, Any]) -> Iterator[Pass]:
    """The pass of a step, with every combination of its choices."""
    kind = PASSES[step["pass"]]
    options = [(k, v) for k, v in step.items() if k != "pass"]
    several = [v if is_choice(kind.name, k, v) else [v] for k, v in options]
    for values in itertools.product(*several):
        yield kind.model_validate({k: v for (k, _), v in zip(options, values, strict=True)})


def is_choice(transformation: str, option: str, value: Any) -> bool:
    """Whether ``value`` lists alternatives: a list, or a list of lists for an option that is one."""
    if option == "pass" or not isinstance(value, list):
        return False
    annotation = PASSES[transformation].model_fields[option].annotation
    if any(
        typing.get_origin(a) in {list, tuple} for a in (annotation, *typing.get_args(annotation))
    ):
        return all(isinstance(one, list) for one in value) and bool(value)
    return True


def check_steps(recipe: Recipe, problems: Problems) -> None:
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
    if count > MOST_EXPANSIONS:
        problems.add(
            "steps",
            f"expand into {count} candidates; at most {MOST_EXPANSIONS}. Shorten the lists.",
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


def json_schema() -> dict[str, Any]:
    """JSON schema of a recipe: each step with its pass's options, each option also as a list."""
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = {}
    steps = []
    for name, kind in PASSES.entries.items():
        own = kind.model_json_schema()
        definitions |= own.pop("$defs", {})
        properties = {
            option: {"anyOf": [field, {"type": "array", "items": field, "minItems": 1}]}
            for option, field in own.get("properties", {}).items()
        }
        steps.append(
            {
                "type": "object",
                "description": kind.summary,
                "properties": {"pass": {"const": name}, **properties},
                "required": ["pass"],
                "additionalProperties": False,
            }
        )
    schema["properties"]["steps"]["items"] = {"anyOf": steps}
    if definitions:
        schema["$defs"] = definitions
    return schema

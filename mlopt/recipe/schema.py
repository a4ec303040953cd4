"""A recipe, ``recipes/*.yaml``: an ordered list of passes with their options, or of other recipes."""

from __future__ import annotations

import itertools
import typing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from mlopt.passes import PASSES
from mlopt.providers import ORT
from mlopt.runners import RUNNERS
from mlopt.types.artifact import Format
from mlopt.types.candidate import Step
from mlopt.types.passes import Brought, Pass
from mlopt.types.patterns import RECIPE_NAME
from mlopt.types.record import Record

SESSION = "session"
"""Where a choice stands that is no pass's, for its label."""


class Search(Record):
    """How the choices of a recipe are explored, where trying all of them would take too long.

    Attributes:
        trials: Most candidates that are built.
        batch: How many are asked for at once, and race together.
    """

    trials: Annotated[int, Field(gt=0)]
    batch: Annotated[int, Field(gt=0)] = 4


class Recipe(Record):
    """A recipe.

    Attributes:
        name: The name that ``--recipe`` takes; also the name of its file.
        summary: One line: what it makes.
        when: When to use it, and what it costs.
        steps: Each a mapping with the key ``pass`` and the options of that pass. An option given
            as a list is a choice, and expands into candidates.
        session: Session settings of what the steps make; one given as a list is a choice.
        search: Explore the choices with optuna; default: try every combination.
        mixed_precision: Where INT8 loses too much, look for the fewest nodes that must stay in float.
        tries: Names of recipes, in place of ``steps``: all of them race, on every provider. Of names
            in a list of their own only the first one races that applies.
        providers: Where it pays to try the recipe, when another one's ``tries`` name it; default:
            everywhere. Beside ``tries``: those that are tried where they can be used and the
            project names none.
        tune: For ``tries``: session settings and options of passes, each a list, that the fastest
            candidates are tried with at the end.
    """

    name: Annotated[str, Field(pattern=RECIPE_NAME)]
    summary: str
    when: str
    steps: tuple[dict[str, Any], ...] = ()
    session: dict[str, Any] = {}
    search: Search | None = None
    mixed_precision: bool = False
    tries: tuple[str | Annotated[tuple[str, ...], Field(min_length=1)], ...] = ()
    providers: tuple[str, ...] = ()
    tune: dict[str, list[Any]] = {}

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """``tries``, each as the names of which the first one that applies races."""
        return tuple((one,) if isinstance(one, str) else one for one in self.tries)

    def expand(self, source: Format) -> Iterator[Expansion]:
        """Every combination of the choices, in the order of the file.

        Args:
            source: Format of the model as the user brings it. A step that would convert it to
                the format that it has already is left out.
        """
        dimensions = self.dimensions(source)
        for values in itertools.product(*dimensions.values()):
            yield self.choose(source, dict(zip(dimensions, values, strict=True)))

    def dimensions(self, source: Format) -> dict[str, Sequence[Any]]:
        """The values of each choice, by its label, in the order of the file.

        Args:
            source: Format of the model as the user brings it.
        """
        steps, places = self._parts(source)
        return dict(
            zip(_labels(steps, places), (steps[i][name] for i, name in places), strict=True)
        )

    def choose(self, source: Format, choices: Mapping[str, Any]) -> Expansion:
        """The recipe with one value for each choice.

        Args:
            source: Format of the model as the user brings it.
            choices: A value for each label of :meth:`dimensions`.
        """
        steps, places = self._parts(source)
        for label, (i, name) in zip(_labels(steps, places), places, strict=True):
            steps[i][name] = choices[label]
        *passes, session = steps
        return Expansion(
            steps=tuple(Step(transformation=step.pop("pass"), options=step) for step in passes),
            choices=dict(choices),
            session={name: value for name, value in session.items() if name != "pass"},
        )

    def _parts(self, source: Format) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
        """Copies of the steps that apply and of the session's settings, and where choices stand."""
        steps = [dict(step) for step in self.steps if not self._is_needless(step, source)]
        steps.append({"pass": SESSION, **self.session})
        return steps, [
            (i, name)
            for i, step in enumerate(steps)
            for name, value in step.items()
            if is_choice(step["pass"], name, value)
        ]

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
                if (reason := one.unavailable_because()) is not None:
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
    session: dict[str, Any]


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
    if transformation == SESSION:
        return True
    annotation = PASSES[transformation].model_fields[option].annotation
    if any(
        typing.get_origin(a) in {list, tuple} for a in (annotation, *typing.get_args(annotation))
    ):
        return all(isinstance(one, list) for one in value) and bool(value)
    return True


def json_schema() -> dict[str, Any]:
    """JSON schema of a recipe: each step with its pass's options, each option also as a list."""
    schema = Recipe.model_json_schema()
    definitions: dict[str, Any] = {}
    steps = []
    for name, kind in PASSES.entries.items():
        own = kind.model_json_schema()
        definitions |= own.pop("$defs", {})
        properties = {n: _value_or_list(field) for n, field in own.get("properties", {}).items()}
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
    settings = RUNNERS[ORT].model_json_schema()
    definitions |= settings.pop("$defs", {})
    own_settings = settings.get("properties", {})
    schema["properties"]["session"] = {
        "type": "object",
        "properties": {n: _value_or_list(field) for n, field in own_settings.items()},
        "additionalProperties": False,
    }
    schema["$defs"] = schema.get("$defs", {}) | definitions
    return schema


def _value_or_list(field: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [field, {"type": "array", "items": field, "minItems": 1}]}

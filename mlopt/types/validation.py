"""From what a user wrote to a record: every mistake noted with its place and its remedy."""

from __future__ import annotations

import reprlib
import typing
from collections.abc import Iterator
from itertools import groupby
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlopt.errors import Problems, did_you_mean
from mlopt.types.patterns import MEANINGS

EXPECTED = {
    "model_type": "should be a mapping of keys to values",
    "dict_type": "should be a mapping of keys to values",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "string_type": "should be text (put it in quotes)",
    "too_short": "is empty: give at least one.",
}
"""What a message says for a type of pydantic's errors, where pydantic itself says it less well."""

_bounded = reprlib.Repr()
_bounded.maxstring = _bounded.maxother = 80

R = TypeVar("R", bound=BaseModel)


def validate(kind: type[R], value: Any, problems: Problems, place: str = "") -> R | None:
    """Builds ``kind`` from ``value``, or notes what is wrong with it.

    Args:
        kind: The record.
        value: Parsed YAML.
        problems: Where the mistakes go.
        place: Where ``value`` stands in its file; empty for the file as a whole.

    Returns:
        The record; None when there was a mistake.
    """
    try:
        found = kind.model_validate(value)
    except ValidationError as e:
        for alternatives in _mistakes(e):
            problems.add(*_explain(kind, alternatives, place))
        return None
    turned = list(_turned_into_numbers(value, found, place))
    for where, truth in turned:
        problems.add(where, f"should be a number; found {truth}")
    return None if turned else found


def join(place: str, *parts: int | str) -> str:
    """``metrics[0].name``: a path of keys and positions."""
    for part in parts:
        if isinstance(part, int):
            place += f"[{part}]"
        else:
            place += f".{part}" if place else part
    return place


def _turned_into_numbers(value: Any, found: Any, place: str) -> Iterator[tuple[str, bool]]:
    """Where a truth value stands for a number, which pydantic would take for 1 or 0."""
    if isinstance(value, bool):
        if isinstance(found, int | float) and not isinstance(found, bool):
            yield place, value
    elif isinstance(value, dict):
        for key, part in value.items():
            below = found.get(key) if isinstance(found, dict) else getattr(found, str(key), None)
            yield from _turned_into_numbers(part, below, join(place, key))
    elif isinstance(value, list | tuple) and isinstance(found, list | tuple):
        for i, (part, below) in enumerate(zip(value, found, strict=False)):
            yield from _turned_into_numbers(part, below, join(place, i))


def _mistakes(error: ValidationError) -> Iterator[list[Any]]:
    """The errors of pydantic by mistake: a value that fits no branch of a union is one mistake."""
    errors = error.errors()
    for location, group in groupby(errors, key=_location):
        alternatives = list(group)
        deeper = any(_location(e)[: len(location)] == location != _location(e) for e in errors)
        # A list whose only item is wrong is not empty, though pydantic counts the good ones.
        if not (alternatives[0]["type"] == "too_short" and deeper):
            yield alternatives


def _location(error: Any) -> tuple[int | str, ...]:
    """Keys and positions only; pydantic adds the names of a union's branches."""
    location = error["loc"]
    # The user may call a key what pydantic calls a branch.
    named_by_user = len(location) - 1 if error["type"] == "extra_forbidden" else None
    return tuple(
        part for i, part in enumerate(location) if i == named_by_user or not _is_branch(part)
    )


def _is_branch(part: int | str) -> bool:
    branches = {"int", "str", "float", "bool", "list", "dict"}
    return isinstance(part, str) and (part in branches or "[" in part)


def _explain(kind: type[BaseModel], alternatives: list[Any], place: str) -> tuple[str, str]:
    error = alternatives[0]
    location = _location(error)
    if error["type"] == "extra_forbidden":
        *parents, key = location
        known = _fields_at(kind, tuple(parents))
        return join(place, *parents), f"unknown key '{key}'. {did_you_mean(str(key), known)}"
    if error["type"] == "missing":
        *parents, key = location
        return join(place, *parents), f"'{key}' is missing. Add it."
    if error["type"] == "invalid_key" or error["loc"][-1:] == ("[key]",):
        *parents, key = location
        return join(place, *parents), f"the key {key!r} is no text. Put it in quotes."
    message = ", or ".join(_expected(one) for one in alternatives)
    if error["type"] not in {"value_error", "too_short"}:
        message = f"{message}; found {_shown(error.get('input'))}"
    return join(place, *location), message


def _expected(error: Any) -> str:
    kind, message = error["type"], str(error["msg"])
    if kind in EXPECTED:
        return EXPECTED[kind]
    if kind == "string_pattern_mismatch":
        pattern = error["ctx"]["pattern"]
        return MEANINGS.get(pattern, f"should match {pattern}")
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    message = message.removeprefix("Input ")
    return message[0].lower() + message[1:]


def _shown(value: Any) -> str:
    text = _bounded.repr(value)  # bounded, however often YAML's aliases repeat a list
    return text if len(text) <= 80 else text[:77] + "..."


def _fields_at(kind: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current: Any = kind
    for part in location:
        if isinstance(part, int):
            current = next((a for a in typing.get_args(current) if a is not Ellipsis), None)
        else:
            model = _model_in(current)
            field = model.model_fields.get(part) if model is not None else None
            current = field.annotation if field is not None else None
    model = _model_in(current)
    return list(model.model_fields) if model is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None

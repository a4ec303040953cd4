"""From what a user wrote to a record: every mistake noted with its place and its remedy."""

from __future__ import annotations

import typing
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlopt.errors import Problems, did_you_mean

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
        return kind.model_validate(value)
    except ValidationError as e:
        for error in e.errors():
            problems.add(*_explain(kind, error, place))
        return None


def join(place: str, *parts: int | str) -> str:
    """``metrics[0].name``: a path of keys and positions."""
    for part in parts:
        if isinstance(part, int):
            place += f"[{part}]"
        else:
            place += f".{part}" if place else part
    return place


def _explain(kind: type[BaseModel], error: Any, place: str) -> tuple[str, str]:
    location = tuple(part for part in error["loc"] if not _is_branch(part))
    found = error.get("input")
    if error["type"] == "extra_forbidden":
        *parents, key = location
        known = _fields_at(kind, tuple(parents))
        return join(place, *parents), f"unknown key '{key}'. {did_you_mean(str(key), known)}"
    if error["type"] == "missing":
        *parents, key = location
        return join(place, *parents), f"'{key}' is missing. Add it."
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] in {"model_type", "dict_type"}:
        message = f"should be a mapping of keys to values, and is {_shown(found)}"
    elif error["type"] in {"tuple_type", "list_type"}:
        message = f"should be a list, and is {_shown(found)}"
    elif error["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}; found {_shown(found)}"
    return join(place, *location), message


def _is_branch(part: int | str) -> bool:
    """Whether pydantic put the name of a union's branch into the location."""
    return isinstance(part, str) and (part in {"int", "str", "float", "bool"} or "[" in part)


def _shown(value: Any) -> str:
    text = repr(value)
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

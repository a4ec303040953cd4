"""From what a user wrote to a record: every mistake with its place and its remedy."""

from __future__ import annotations

from typing import Any

import pytest

from mlopt.errors import ConfigError, Problems
from mlopt.types.record import Record
from mlopt.types.validation import join, validate


class Metric(Record):
    name: str
    max_drop: float | None = None


class Limits(Record):
    seconds: float = 60


class Config(Record):
    name: str
    limits: Limits = Limits()
    metrics: tuple[Metric, ...] = ()
    sizes: tuple[int, ...] = ()


def mistakes(value: Any, place: str = "") -> list[str]:
    problems = Problems("mlopt.yaml")
    assert validate(Config, value, problems, place) is None
    with pytest.raises(ConfigError) as caught:
        problems.raise_if_any()
    return str(caught.value).splitlines()


def test_returns_the_record_and_notes_nothing_when_all_is_well() -> None:
    problems = Problems("mlopt.yaml")
    found = validate(Config, {"name": "a", "metrics": [{"name": "accuracy"}]}, problems)
    assert found == Config(name="a", metrics=(Metric(name="accuracy"),))
    assert not problems


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"name": "a", "nmae": 1}, "mlopt.yaml:"),
        ({}, "mlopt.yaml:"),
        ({"name": "a", "limits": {"secnods": 1}}, "mlopt.yaml, limits:"),
        ({"name": "a", "limits": {"seconds": "long"}}, "mlopt.yaml, limits.seconds:"),
        ({"name": "a", "limits": 5}, "mlopt.yaml, limits:"),
        ({"name": "a", "metrics": [{"name": "b"}, {}]}, "mlopt.yaml, metrics[1]:"),
        (
            {"name": "a", "metrics": [{"name": "b", "max_drop": "much"}]},
            "mlopt.yaml, metrics[0].max_drop:",
        ),
        ({"name": "a", "sizes": [1, 2, "three"]}, "mlopt.yaml, sizes[2]:"),
        ({"name": "a", "sizes": [1, True]}, "mlopt.yaml, sizes[1]: should be a number; found True"),
        (
            {"name": "a", "metrics": [{"name": "b", "max_drop": False}]},
            "mlopt.yaml, metrics[0].max_drop: should be a number; found False",
        ),
    ],
)
def test_a_mistake_is_noted_once_with_its_place(value: dict[str, Any], place: str) -> None:
    (line,) = mistakes(value)
    assert line.startswith(place)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ({"name": "a", "metrcs": []}, "unknown key 'metrcs'. Did you mean 'metrics'?"),
        ({"name": "a", "limits": {"secs": 1}}, "unknown key 'secs'. Did you mean 'seconds'?"),
        (
            {"name": "a", "metrics": [{"name": "b", "maxdrop": 1}]},
            "unknown key 'maxdrop'. Did you mean 'max_drop'?",
        ),
        ({}, "'name' is missing. Add it."),
    ],
)
def test_a_mistake_comes_with_its_remedy(value: dict[str, Any], remedy: str) -> None:
    (line,) = mistakes(value)
    assert line.endswith(remedy)


@pytest.mark.parametrize(
    ("value", "expected", "found"),
    [
        ({"name": "a", "limits": "none"}, "mapping of keys to values", "'none'"),
        ({"name": "a", "metrics": "accuracy"}, "should be a list", "'accuracy'"),
        ({"name": "a", "limits": {"seconds": "long"}}, "number", "'long'"),
        (["name"], "mapping of keys to values", "['name']"),
    ],
)
def test_what_was_expected_and_what_was_found_are_both_told(
    value: Any, expected: str, found: str
) -> None:
    (line,) = mistakes(value)
    assert expected in line
    assert found in line


def test_a_long_value_is_cut_short() -> None:
    (line,) = mistakes({"name": "a", "metrics": "x" * 1000})
    assert len(line) < 200


def test_all_mistakes_are_reported_at_once() -> None:
    lines = mistakes({"limits": {"secs": 1}, "sizes": ["a", "b"], "extra": 1})
    assert len(lines) == 5


def test_places_are_told_from_where_the_value_stands() -> None:
    (line,) = mistakes({"name": "a", "sizes": [None]}, place="steps[3].options")
    assert line.startswith("mlopt.yaml, steps[3].options.sizes[0]:")


@pytest.mark.parametrize(
    ("place", "parts", "expected"),
    [
        ("", ("name",), "name"),
        ("", (0, "name"), "[0].name"),
        ("metrics", (0, "name"), "metrics[0].name"),
        ("a", (), "a"),
        ("", ("a", "b", 1, 2), "a.b[1][2]"),
    ],
)
def test_a_place_is_a_path_of_keys_and_positions(
    place: str, parts: tuple[int | str, ...], expected: str
) -> None:
    assert join(place, *parts) == expected

"""Recipes of other recipes, session settings, and choices that are explored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlopt.errors import ConfigError
from mlopt.pipeline.space import DEFAULT_RECIPE
from mlopt.recipe import Recipe, find_recipe, list_recipes, read_recipe

EXPORT = {"pass": "export_onnx"}


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"name": "mine", "summary": "s", "when": "w.", **fields})


def written(directory: Path, **fields: Any) -> Path:
    path = directory / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "summary": "s", "when": "w.", **fields}))
    return path


def test_a_session_setting_is_part_of_every_expansion() -> None:
    one = recipe(steps=[EXPORT], session={"intra_op_threads": 1})
    assert [e.session for e in one.expand("torch")] == [{"intra_op_threads": 1}]
    assert [e.choices for e in one.expand("torch")] == [{}]


def test_a_session_setting_given_as_a_list_is_a_choice() -> None:
    one = recipe(steps=[{**EXPORT, "opset": [17, 18]}], session={"intra_op_threads": [1, 2]})
    found = [(e.choices["opset"], e.session["intra_op_threads"]) for e in one.expand("torch")]
    assert found == [(17, 1), (17, 2), (18, 1), (18, 2)]


def test_choices_are_known_by_their_labels_and_can_be_made_one_by_one() -> None:
    one = recipe(steps=[{**EXPORT, "opset": [17, 18]}], session={"intra_op_threads": [1, 2]})
    assert one.dimensions("torch") == {"opset": [17, 18], "intra_op_threads": [1, 2]}
    made = one.choose("torch", {"opset": 18, "intra_op_threads": 1})
    assert made.steps[0].options == {"opset": 18}
    assert made.session == {"intra_op_threads": 1}
    assert one.steps[0]["opset"] == [17, 18]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "steps: are missing: list passes, or name recipes under 'tries'."),
        ({"steps": [EXPORT], "session": {"threads": 1}}, "session: unknown setting 'threads'."),
        (
            {"steps": [EXPORT], "session": {"intra_op_threads": []}},
            "'intra_op_threads' is an empty",
        ),
        (
            {"steps": [EXPORT], "session": {"graph_optimization": "most"}},
            "session.graph_optimization",
        ),
        (
            {"steps": [EXPORT], "tune": {"intra_op_threads": [1]}},
            "tune: belongs to a recipe with 'tr",
        ),
        ({"steps": [EXPORT], "providers": ["gpu"]}, "providers: unknown provider 'gpu'"),
        ({"steps": [EXPORT], "tries": ["fp32"]}, "steps: does not go with 'tries'"),
        ({"tries": ["fp32"], "search": {"trials": 5}}, "search: does not go with 'tries'"),
        ({"tries": ["mine"]}, "tries: 'mine' names itself"),
        ({"tries": [["fp32", "mine"]]}, "tries: 'mine' names itself"),
        ({"tries": ["fp32", ["fuse", "fp32"]]}, "tries: 'fp32' stands there twice. Remove one."),
        ({"tries": [[]]}, "or is empty: give at least one."),
        ({"tries": ["fp32"], "tune": {"speed": [1]}}, "tune: unknown setting 'speed'."),
        (
            {"tries": ["fp32"], "tune": {"per_channel": ["often"]}},
            "tune: 'per_channel' of int8_dynamic does not take 'often'",
        ),
        ({"steps": [EXPORT], "search": {"trials": 0}}, "search.trials"),
    ],
)
def test_refuses(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recipe(written(tmp_path, **fields), "mine.yaml")
    assert message in str(caught.value)


def test_a_search_may_have_more_choices_than_anybody_could_try(tmp_path: Path) -> None:
    steps = [
        EXPORT,
        {
            "pass": "int8_static",
            "calibration": ["minmax", "entropy", "percentile"],
            "samples": list(range(1, 101)),
        },
    ]
    with pytest.raises(ConfigError, match=r"add 'search: \{trials: 40\}'"):
        read_recipe(written(tmp_path, steps=steps), "mine.yaml")
    found = read_recipe(written(tmp_path, steps=steps, search={"trials": 9}), "mine.yaml")
    assert found.search is not None
    assert found.search.trials == 9


def test_what_a_built_in_recipe_tries_are_recipes_with_steps() -> None:
    composites = [found.recipe for found in list_recipes() if found.recipe.tries]
    assert [one.name for one in composites] == [DEFAULT_RECIPE]
    for one in composites:
        assert all(find_recipe(name).recipe.steps for names in one.alternatives for name in names)

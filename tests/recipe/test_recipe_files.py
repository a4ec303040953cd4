"""The recipes that come with mlopt, and how recipes expand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlopt.passes import PASSES
from mlopt.recipe import FoundRecipe, Recipe, find_recipe, list_recipes, read_recipe
from mlopt.recipe.load import builtin_dir
from mlopt.recipe.schema import json_schema
from mlopt.types.artifact import Format
from mlopt.types.passes import Brought

BUILT_IN = sorted(builtin_dir().glob("*.yaml"), key=lambda path: path.stem)
WITH_STEPS = [path for path in BUILT_IN if read_recipe(path, path.name).steps]
FORMATS: tuple[Format, ...] = ("torch", "onnx")

contract = pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
with_steps = pytest.mark.parametrize("path", WITH_STEPS, ids=lambda path: path.stem)


def test_there_are_built_in_recipes():
    assert [found.recipe.name for found in list_recipes()] == [path.stem for path in BUILT_IN]
    assert {"fp32", "int8-dynamic", "int8-static"} <= {path.stem for path in BUILT_IN}


@contract
def test_a_built_in_recipe_is_valid_and_called_like_its_file(path: Path):
    recipe = read_recipe(path, path.name)
    assert recipe.name == path.stem
    assert recipe.summary
    assert recipe.when.endswith(".")


@contract
def test_a_built_in_recipe_begins_with_a_comment_on_when_to_use_it(path: Path):
    lines = path.read_text(encoding="utf-8").split("\n")
    comment = " ".join(
        line[1:].strip()
        for line in lines[: lines.index(next(line for line in lines if not line.startswith("#")))]
    )
    assert "When to use it: " in comment
    assert comment.split("When to use it:")[0].strip().endswith(".")


@with_steps
@pytest.mark.parametrize("source", FORMATS)
def test_a_built_in_recipe_expands_into_steps_that_can_be_built(path: Path, source: Format):
    recipe = read_recipe(path, path.name)
    if recipe.refuses(Brought(source, has_student=True)) is not None:
        assert source == "onnx"
        assert PASSES[recipe.steps[0]["pass"]].produces == "torch"
        return
    expansions = list(recipe.expand(source))
    assert expansions
    for expansion in expansions:
        current = source
        for step in expansion.steps:
            kind = PASSES[step.transformation]
            assert kind.consumes == current
            kind.model_validate(step.options)
            current = kind.produces
        assert current == "onnx"


@with_steps
def test_a_built_in_recipe_starts_from_torch(path: Path):
    assert read_recipe(path, path.name).refuses(Brought("torch", has_student=True)) is None


@pytest.mark.parametrize("name", ["fp32", "int8-dynamic", "int8-static"])
def test_a_recipe_without_a_step_in_torch_applies_to_onnx_too(name):
    assert find_recipe(name).recipe.refuses(Brought("onnx", has_student=False)) is None


def _recipe(*steps: dict[str, object]) -> Recipe:
    return Recipe(name="mine", summary="s", when="w", steps=steps)


def test_lists_expand_into_their_product_in_the_order_of_the_file():
    recipe = _recipe(
        {"pass": "export_onnx", "opset": [17, 18]},
        {"pass": "int8_static", "calibration": ["minmax", "entropy"], "samples": 8},
    )
    found = list(recipe.expand("torch"))
    assert [expansion.choices for expansion in found] == [
        {"opset": 17, "calibration": "minmax"},
        {"opset": 17, "calibration": "entropy"},
        {"opset": 18, "calibration": "minmax"},
        {"opset": 18, "calibration": "entropy"},
    ]
    assert [step.options for step in found[1].steps] == [
        {"opset": 17},
        {"calibration": "entropy", "samples": 8},
    ]


def test_a_step_that_is_needless_for_onnx_takes_its_choices_with_it():
    recipe = _recipe({"pass": "export_onnx", "opset": [17, 18]}, {"pass": "int8_dynamic"})
    (only,) = recipe.expand("onnx")
    assert only.choices == {}
    assert [step.transformation for step in only.steps] == ["int8_dynamic"]


def test_an_option_that_is_a_list_itself_is_a_choice_when_it_lists_lists():
    one = _recipe({"pass": "export_onnx"}, {"pass": "int8_static", "exclude": ["a", "b"]})
    two = _recipe({"pass": "export_onnx"}, {"pass": "int8_static", "exclude": [["a"], []]})
    assert [expansion.choices for expansion in one.expand("torch")] == [{}]
    assert [expansion.choices for expansion in two.expand("torch")] == [
        {"exclude": ["a"]},
        {"exclude": []},
    ]


def test_choices_of_one_name_in_several_steps_stay_apart():
    both = [True, False]
    recipe = _recipe(
        {"pass": "export_onnx"},
        {"pass": "int8_static", "per_channel": both, "samples": [8, 9]},
        {"pass": "int8_dynamic", "per_channel": both},
    )
    found = [tuple(expansion.choices.items()) for expansion in recipe.expand("torch")]
    assert len(set(found)) == 8
    assert [name for name, _ in found[0]] == [
        "int8_static.per_channel",
        "samples",
        "int8_dynamic.per_channel",
    ]


def test_choices_of_one_pass_that_stands_there_twice_are_told_apart_by_their_place():
    step = {"pass": "int8_dynamic", "per_channel": [True, False]}
    found = list(_recipe(step, dict(step)).expand("onnx"))
    assert [expansion.choices for expansion in found] == [
        {"steps[0].per_channel": first, "steps[1].per_channel": second}
        for first in (True, False)
        for second in (True, False)
    ]


def _ways(recipe: Recipe, source: Format) -> dict[str, list[str]]:
    return {w.name: [s["pass"] for s in w.steps] for w in recipe.waypoints(source)}


def test_each_step_but_the_last_has_a_waypoint_that_is_deployed():
    recipe = _recipe(
        {"pass": "prune_channels"},
        {"pass": "distill"},
        {"pass": "export_onnx", "opset": 17},
        {"pass": "int8_static"},
    )
    assert _ways(recipe, "torch") == {
        "mine:prune_channels": ["prune_channels", "export_onnx"],
        "mine:distill": ["prune_channels", "distill", "export_onnx"],
    }
    assert all(
        w.steps[-1] == {"pass": "export_onnx", "opset": 17} for w in recipe.waypoints("torch")
    )


def test_a_recipe_of_one_step_and_a_conversion_has_no_waypoint():
    assert _ways(_recipe({"pass": "export_onnx"}), "torch") == {}
    assert _ways(_recipe({"pass": "export_onnx"}, {"pass": "int8_dynamic"}), "torch") == {}
    assert _ways(_recipe({"pass": "prune_channels"}, {"pass": "export_onnx"}), "torch") == {}


def test_waypoints_of_a_pass_that_stands_there_twice_have_two_names():
    twice = [{"pass": "finetune"}, {"pass": "finetune"}, {"pass": "finetune"}]
    recipe = _recipe(*twice, {"pass": "export_onnx"})
    assert list(_ways(recipe, "torch")) == ["mine:finetune", "mine:finetune-2"]


def test_expanding_leaves_the_recipe_as_it_is():
    recipe = find_recipe("int8-static").recipe
    before = recipe.model_dump()
    list(recipe.expand("torch"))
    assert recipe.model_dump() == before


def _write(directory: Path, name: str, summary: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    content = _recipe({"pass": "export_onnx"}).model_dump(mode="json")
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**content, "name": name, "summary": summary}))
    return path


def test_a_recipe_of_the_project_wins_over_a_built_in_one(tmp_path: Path):
    path = _write(tmp_path / "recipes", "fp32", "mine")
    assert find_recipe("fp32", tmp_path) == FoundRecipe(read_recipe(path, "fp32"), path, False)
    found = {one.recipe.name: one for one in list_recipes(tmp_path)}
    assert found["fp32"].recipe.summary == "mine"
    assert found["int8-static"].built_in


def test_a_path_of_a_recipe_is_relative_to_the_project(tmp_path: Path, monkeypatch):
    _write(tmp_path / "project" / "more", "edge", "in the project")
    _write(tmp_path / "more", "edge", "here")
    _write(tmp_path, "own", "only here")
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    assert find_recipe("more/edge.yaml", project).recipe.summary == "in the project"
    assert find_recipe("own.yaml", project).recipe.summary == "only here"
    assert find_recipe("more/edge.yaml").recipe.summary == "here"


def test_the_json_schema_describes_every_pass_and_all_of_its_options():
    steps = json_schema()["properties"]["steps"]["items"]["anyOf"]
    described = {step["properties"]["pass"]["const"]: set(step["properties"]) for step in steps}
    assert described == {
        name: {"pass", *kind.model_fields} for name, kind in PASSES.entries.items()
    }
    assert all(step["additionalProperties"] is False for step in steps)


def test_a_choice_of_students_needs_none_in_the_project():
    step = {"pass": "distill", "student": ["model:small", "model:tiny"]}
    recipe = _recipe(step, {"pass": "export_onnx"})
    assert recipe.refuses(Brought("torch", has_student=False)) is None
    named = _recipe({"pass": "distill", "epochs": [1, 2]}, {"pass": "export_onnx"})
    reason = named.refuses(Brought("torch", has_student=False))
    assert reason is not None
    assert "mlopt.yaml names no 'student'" in reason


def test_a_recipe_needs_the_splits_that_its_choices_read():
    export = {"pass": "export_onnx"}
    assert _recipe({"pass": "prune_channels"}, export).reads() == {"selection"}
    both = _recipe({"pass": "prune_channels", "importance": ["magnitude", "taylor"]}, export)
    assert both.reads() == {"selection", "training"}

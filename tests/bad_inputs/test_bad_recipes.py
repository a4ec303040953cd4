"""Every way of getting a recipe wrong, and what the user is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlopt.errors import ConfigError, listing
from mlopt.passes import PASSES
from mlopt.recipe import find_recipe, list_recipes, read_recipe

HEAD = "name: mine\nsummary: something\nwhen: sometimes\n"
EXPORT = "steps:\n- pass: export_onnx\n"
STATIC = HEAD + EXPORT + "- pass: int8_static\n"
PLACE = "recipes/mine.yaml, steps[1] (int8_static)"
OPTIONS = listing(sorted(PASSES["int8_static"].model_fields))

STEPS = {
    "an unknown pass": (
        HEAD + "steps:\n- pass: exprt_onnx\n",
        ["steps[0]: unknown pass 'exprt_onnx'. Did you mean 'export_onnx'?"],
    ),
    "no steps": (HEAD, ["steps: are missing: list passes, or name recipes under 'tries'."]),
    "an empty list of steps": (
        HEAD + "steps: []\n",
        ["steps: are missing: list passes, or name recipes under 'tries'."],
    ),
    "steps that are no list": (HEAD + "steps: 5\n", ["steps: should be a list; found 5"]),
    "a step that is no mapping": (
        HEAD + "steps:\n- export_onnx\n",
        ["steps[0]: should be a mapping of keys to values; found 'export_onnx'"],
    ),
    "a misspelt key": (
        HEAD + "stepps:\n- pass: export_onnx\n",
        [": unknown key 'stepps'. Did you mean 'steps'?"],
    ),
    "a key that stands twice": (
        HEAD + EXPORT + "  pass: int8_static\n",
        [" line 6: the key 'pass' stands there twice. Keep one of them."],
    ),
    "no name, summary or when": (
        EXPORT,
        [
            ": 'name' is missing. Add it.",
            ": 'summary' is missing. Add it.",
            ": 'when' is missing. Add it.",
        ],
    ),
    "a name that is not the file's": (
        HEAD.replace("mine", "yours") + EXPORT,
        ["name: 'yours' differs from the file's name. Call it 'mine'."],
    ),
    "a name in capitals": (
        HEAD.replace("mine", "Mine") + EXPORT,
        ["name: should consist of small letters, digits and '-'; found 'Mine'"],
    ),
    "steps in an order that does not fit": (
        HEAD + "steps:\n- pass: int8_static\n- pass: export_onnx\n",
        [
            "steps[1] (export_onnx): takes a torch model, and the step before makes onnx. "
            "Change the order."
        ],
    ),
    "more expansions than anybody can measure": (
        STATIC + f"  samples: {list(range(1, 31))}\n  percentile: {list(range(91, 100))}\n",
        [
            "steps: expand into 270 candidates; at most 256. Shorten the lists, or add 'search: {trials: 40}'."
        ],
    ),
}

OPTION_MISTAKES = {
    "calib: minmax": ["unknown option 'calib'. Did you mean 'calibration'?"],
    "summary: mine": [f"unknown option 'summary'. Known: {OPTIONS}."],
    "calibration: minmx": [
        "calibration: should be 'minmax', 'entropy' or 'percentile'; found 'minmx'"
    ],
    "calibration: [minmax, minmx]": [
        "calibration: should be 'minmax', 'entropy' or 'percentile'; found 'minmx'"
    ],
    "calibration: []": ["'calibration' is an empty list: give at least one value."],
    "calibration: [minmax, minmax]": ["'calibration' lists a value twice: keep one of them."],
    "samples: [0, many]": [
        "samples: should be greater than 0; found 0",
        "samples: should be a valid integer, unable to parse string as an integer; found 'many'",
    ],
    "percentile: .nan": ["percentile: should be a finite number; found nan"],
    "percentile: 50": ["percentile: should be greater than 50; found 50"],
    "reduce_range: maybe": [
        "reduce_range: should be a valid boolean, unable to interpret input, or should be "
        "'auto'; found 'maybe'"
    ],
    "exclude: conv1": ["exclude: should be a list; found 'conv1'"],
    "exclude: [[conv1], conv2]": ["exclude[0]: should be text (put it in quotes); found ['conv1']"],
}


@pytest.mark.parametrize("case", STEPS)
def test_refuses_a_recipe_with(case, tmp_path: Path, refuses):
    text, messages = STEPS[case]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    lines = [
        f"recipes/mine.yaml{m}" if m.startswith(":") else f"recipes/mine.yaml, {m.strip()}"
        for m in messages
    ]
    with refuses(ConfigError, *lines):
        read_recipe(path, "recipes/mine.yaml")


@pytest.mark.parametrize("option", OPTION_MISTAKES)
def test_refuses_a_step_with_the_option(option, tmp_path: Path, refuses):
    path = tmp_path / "mine.yaml"
    path.write_text(STATIC + f"  {option}\n")
    name = option.split(":")[0]
    lines = [
        f"{PLACE}.{message}" if message.startswith(name) else f"{PLACE}: {message}"
        for message in OPTION_MISTAKES[option]
    ]
    with refuses(ConfigError, *lines):
        read_recipe(path, "recipes/mine.yaml")


@pytest.mark.parametrize("value", ["", "3", "[export_onnx, int8_static]", "{a: 1}"])
def test_refuses_a_step_whose_pass_is_no_name(value, tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + f"steps:\n- pass: {value}\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path, "recipes/mine.yaml")
    message = str(caught.value)
    assert message.startswith("recipes/mine.yaml, steps[0]: 'pass' is ")
    assert "name one of distill, " in message


def test_refuses_a_step_without_a_pass(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "steps:\n- opset: 18\n")
    with pytest.raises(ConfigError) as caught:
        read_recipe(path, "recipes/mine.yaml")
    message = str(caught.value)
    assert message.startswith("recipes/mine.yaml, steps[0]: 'pass' is missing: name one of ")


def test_refuses_a_recipe_that_ends_before_onnx(tmp_path: Path, refuses, monkeypatch):
    from mlopt.passes import Pass

    class Prune(Pass):
        name = "prune"
        summary = "a pass that stays in torch"
        consumes = "torch"
        produces = "torch"

    monkeypatch.setitem(PASSES.entries, "prune", Prune)
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "steps:\n- pass: prune\n")
    with refuses(
        ConfigError,
        "recipes/mine.yaml, steps: end in the format torch, which is not deployed. End with "
        "export_onnx or a step after it.",
    ):
        read_recipe(path, "recipes/mine.yaml")


def test_a_bad_recipe_among_those_of_the_project_is_named(tmp_path: Path, refuses):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text("steps")
    with refuses(
        ConfigError, "recipes/mine.yaml should be a mapping of keys to values, and is a str."
    ):
        list_recipes(tmp_path)


def test_an_unknown_recipe_is_compared_with_those_of_the_project(tmp_path: Path, refuses):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny-edge.yaml").write_text("")
    with refuses(ConfigError, "unknown recipe 'tiny-edg'. Did you mean 'tiny-edge'?"):
        find_recipe("tiny-edg", tmp_path)

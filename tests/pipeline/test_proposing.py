"""What a project's recipes become: candidates, and what is proposed after them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlopt import api
from mlopt.machine import usable_cpus
from mlopt.pipeline.proposing import with_setting
from mlopt.pipeline.space import Maker, Space, candidate_space
from mlopt.project import load_project
from mlopt.providers import available_providers
from mlopt.providers.openvino import OpenVinoProvider
from mlopt.recipe import Recipe
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.passes import Brought

pytestmark = pytest.mark.slow

RACE = {
    "name": "race",
    "summary": "a race",
    "when": "In tests.",
    "tries": ["fp32", "int8-dynamic", "prune"],
    "tune": {"graph_optimization": ["basic"], "intra_op_threads": [1, 999]},
}


def with_recipe(project: Path, **content: Any) -> Path:
    (project / "recipes").mkdir(exist_ok=True)
    (project / "recipes" / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))
    return project


def space_of(project: Path) -> Space:
    return candidate_space(load_project(project))


def test_a_composite_races_every_recipe_that_applies_and_says_why_others_do_not(
    onnx_project: Callable[..., Path],
) -> None:
    space = space_of(with_recipe(onnx_project(recipes=["race"]), **RACE))
    assert [c.name for c in space.candidates] == ["fp32", "int8-dynamic"]
    assert any("'prune' does not apply" in note for note in space.notes)
    assert set(space.refinement.tune) == {"graph_optimization", "intra_op_threads"}


def test_a_composite_tries_the_providers_that_it_names_and_that_are_there(
    onnx_project: Callable[..., Path],
) -> None:
    race = RACE | {"providers": ["cpu", "cuda", "openvino"]}
    space = space_of(with_recipe(onnx_project(recipes=["race"]), **race))
    there = [n for n in ("cpu", "cuda", "openvino") if available_providers()[n] is None]
    assert list(dict.fromkeys(c.provider for c in space.candidates)) == there
    missing = any("the provider 'openvino' is not tried" in note for note in space.notes)
    assert missing == ("openvino" not in there)


def test_a_recipe_is_tried_where_it_pays_and_elsewhere_only_by_its_name(
    onnx_project: Callable[..., Path],
) -> None:
    own = {"summary": "s", "when": "w.", "steps": [{"pass": "int8_dynamic"}]}
    project = with_recipe(onnx_project(recipes=["race"], providers=["cpu"]), **RACE)
    race = RACE | {"tries": ["here", "there"]}
    for name, providers in {"here": ["cpu"], "there": ["cuda"]}.items():
        with_recipe(project, name=name, providers=providers, **own)
    assert {c.recipe for c in space_of(with_recipe(project, **race)).candidates} == {"fp32", "here"}
    settings = yaml.safe_load((project / "mlopt.yaml").read_text()) | {"recipes": ["there"]}
    (project / "mlopt.yaml").write_text(yaml.safe_dump(settings))
    assert {c.recipe for c in space_of(project).candidates} == {"fp32", "there"}


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["prune", "int8-dynamic", "int8-static"], "int8-dynamic"),
        (["int8-static", "int8-dynamic"], "int8-static"),
    ],
)
def test_of_alternatives_only_the_first_that_applies_races(
    names: list[str], taken: str, onnx_project: Callable[..., Path]
) -> None:
    race = RACE | {"tries": ["fp32", names]}
    space = space_of(with_recipe(onnx_project(recipes=["race"]), **race))
    assert {c.recipe for c in space.candidates} == {"fp32", taken}
    later = [n for n in space.notes if "is not tried" in n]
    assert later == [
        f"the recipe '{names[-1]}' is not tried: '{taken}' applies, which is tried in its place"
    ]


def test_an_alternative_that_is_asked_for_as_well_is_tried_and_not_said_to_be_left_out(
    onnx_project: Callable[..., Path],
) -> None:
    race = RACE | {"tries": ["fp32", ["int8-dynamic", "int8-static"]]}
    space = space_of(with_recipe(onnx_project(recipes=["race", "int8-static"]), **race))
    assert {c.recipe for c in space.candidates} == {"fp32", "int8-dynamic", "int8-static"}
    assert not [n for n in space.notes if "is not tried" in n]


def test_a_project_that_names_its_providers_is_obeyed(onnx_project: Callable[..., Path]) -> None:
    race = RACE | {"providers": ["cpu", "openvino"]}
    space = space_of(with_recipe(onnx_project(recipes=["race"], providers=["cpu"]), **race))
    assert {c.provider for c in space.candidates} == {"cpu"}


def test_where_no_recipe_is_named_auto_is_tried_and_the_projects_own_beside_it(
    onnx_project: Callable[..., Path],
) -> None:
    own = {"name": "mine", "summary": "s", "when": "w.", "steps": [{"pass": "int8_dynamic"}]}
    project = with_recipe(onnx_project(recipes=[], providers=["cpu"]), **own)
    space = space_of(project)
    names = {c.recipe for c in space.candidates}
    assert {"fp32", "int8-static", "int8-dynamic", "mine"} <= names
    assert "prune" not in names
    assert space.refinement.tune


def test_a_recipe_that_is_searched_makes_no_candidate_beforehand(
    onnx_project: Callable[..., Path],
) -> None:
    own = {
        "name": "mine",
        "summary": "s",
        "when": "w.",
        "steps": [{"pass": "int8_static", "calibration": ["minmax", "entropy"]}],
        "search": {"trials": 2},
    }
    space = space_of(with_recipe(onnx_project(recipes=["mine"]), **own))
    assert [c.name for c in space.candidates] == ["fp32"]
    assert [(one.recipe, one.trials) for one in space.refinement.searches] == [("mine", 2)]


def candidate(provider: str = "cpu", **choices: Any) -> PlannedCandidate:
    name = "int8-static" + ("" if provider == "cpu" else f"@{provider}")
    plain = PlannedCandidate(
        name=name, role="candidate", recipe="int8-static", provider=provider, runner="onnxruntime"
    )
    return plain.with_choices(choices)


def test_a_setting_stands_in_the_name_beside_the_choices_there_are() -> None:
    one = with_setting(candidate(calibration="minmax"), "graph_optimization", "basic")
    assert one is not None
    assert one.name == "int8-static[calibration=minmax,graph_optimization=basic]"
    assert one.settings["graph_optimization"] == "basic"


def test_an_option_of_a_pass_is_changed_in_the_last_step_that_has_it() -> None:
    steps = [Step(transformation=name) for name in ("export_onnx", "int8_dynamic", "int8_static")]
    origin = candidate(provider="openvino").model_copy(update={"steps": tuple(steps)})
    one = with_setting(origin, "per_channel", False)
    assert one is not None
    assert one.name == "int8-static[per_channel=False]@openvino"
    assert [step.options for step in one.steps] == [{}, {}, {"per_channel": False}]
    assert one.settings == origin.settings
    assert with_setting(one, "per_channel", False) is None
    assert with_setting(origin, "per_channel", True) is None, "that is its default"
    assert with_setting(candidate(), "per_channel", False) is None, "no pass of it has that"


def test_a_provider_that_compiles_has_static_shapes_unless_the_recipe_says_otherwise() -> None:
    maker = Maker(Brought("onnx", has_student=False), "cpu")
    plain = {"name": "r", "summary": "s", "when": "w", "steps": [{"pass": "int8_dynamic"}]}
    for session, there in (({}, True), ({"static_shapes": False}, False)):
        recipe = Recipe.model_validate({**plain, "session": session})
        (here,), (elsewhere,) = (list(maker.on(recipe, p)) for p in ("cpu", "openvino"))
        assert here.settings["static_shapes"] is False
        assert elsewhere.settings["static_shapes"] is there


def test_a_runner_of_fewer_settings_has_those_that_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OpenVinoProvider, "runners", lambda self: ("openvino",))
    session = {"graph_optimization": ["basic", "all"], "intra_op_threads": 1}
    plain = {"name": "r", "summary": "s", "when": "w", "steps": [{"pass": "int8_dynamic"}]}
    recipe = Recipe.model_validate({**plain, "session": session})
    maker = Maker(Brought("onnx", has_student=False), "cpu")
    (one,) = maker.on(recipe, "openvino")
    assert (one.runner, one.name, one.choices) == ("openvino", "r@openvino", {})
    assert one.settings == {"intra_op_threads": 1, "static_shapes": True}
    assert len(list(maker.on(recipe, "cpu"))) == 2
    assert with_setting(one, "graph_optimization", "basic") is None
    dynamic = with_setting(one, "static_shapes", False)
    assert dynamic is not None
    assert dynamic.settings == {"intra_op_threads": 1, "static_shapes": False}


def test_a_setting_that_changes_nothing_or_that_the_provider_ignores_is_no_candidate() -> None:
    tuned = with_setting(candidate(), "graph_optimization", "basic")
    assert tuned is not None
    assert with_setting(tuned, "graph_optimization", "basic") is None
    assert with_setting(candidate(), "intra_op_threads", usable_cpus() + 1) is None
    assert with_setting(candidate("openvino"), "graph_optimization", "basic") is None


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from linear_project import QUICK, write_project

    directory = tmp_path_factory.mktemp("raced")
    content = {"recipes": ["race"], "measurement": QUICK}
    project = with_recipe(write_project(directory / "project", **content), **RACE)
    return api.optimize(project, out=directory / "reports")


def test_the_fastest_are_tried_with_other_settings_in_the_same_trial(raced: Any) -> None:
    planned = {c.name for c in raced.run.plan.candidates}
    later = [c for c in raced.run.candidates if c.name not in planned]
    assert "fp32[graph_optimization=basic]" in {c.name for c in later}
    for one in later:
        assert one.plan.choices
        evidence = one.selection
        assert evidence is not None
        assert evidence.measurements[0].trial == "selection"
        assert evidence.measurements[0].p50_ratio is not None
        assert evidence.measurements[0].launches >= 1
    baseline = raced.run.baseline.selection
    assert baseline.measurements[0].launches > 1
    lines = (raced.run_dir / "candidates.jsonl").read_text().splitlines()
    assert len(lines) == len(raced.run.candidates)
    assert not list(raced.run_dir.glob("samples/*.checkpoint.npz"))


def test_what_was_proposed_later_can_be_verified(raced: Any) -> None:
    verified = api.verify(raced.run_dir)
    assert verified.mismatches == ()

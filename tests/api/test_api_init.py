"""``api.init``: the template is a project, and knows every key that a project has."""

import re
from pathlib import Path

import pytest
import yaml

from mlopt import api
from mlopt.errors import ConfigError
from mlopt.project import MetricSpec, Project, load_project
from mlopt.project.schema import SPLITS, BaselineSpec, ProjectLimits, Traffic
from mlopt.types.plan import Schedule

HIDDEN = re.compile(r"^(\s*)#(?! \S)(?=.)", re.MULTILINE)


def every_option(text: str) -> str:
    """The template with all that it hides; one of two metric margins has to go."""
    text = HIDDEN.sub(r"\1", text)
    return "\n".join(line for line in text.splitlines() if "max_drop_relative" not in line)


def supply_torch_files(directory: Path) -> None:
    functions = {
        "model": ("build", "build_student"),
        "data": (*SPLITS, "augment", "dark", "clip_of"),
    }
    for module, names in functions.items():
        text = "".join(f"def {name}(): ...\n" for name in names)
        (directory / f"{module}.py").write_text(text)
    (directory / "weights.safetensors").write_bytes(b"")


def test_template_is_accepted_once_the_user_has_supplied_the_files(tmp_path):
    api.init(tmp_path)
    supply_torch_files(tmp_path)
    project = load_project(tmp_path).project
    assert project.metrics[0].max_drop == 0.01
    assert [str(line) for line in project.budget] == ["p99 <= 5 ms"]
    assert set(project.data) == {"selection", "holdout"}


def test_template_misses_nothing_but_the_files(tmp_path):
    api.init(tmp_path)
    with pytest.raises(ConfigError) as error:
        load_project(tmp_path)
    weights, factory, *data = str(error.value).splitlines()
    assert "the file 'weights.safetensors' does not exist" in weights
    assert "no module 'model'" in factory
    assert [line.partition(": no module 'data'")[0] for line in data] == [
        "mlopt.yaml, data.selection",
        "mlopt.yaml, data.holdout",
    ]


def test_template_with_every_option_taken_in_is_accepted(tmp_path):
    file = api.init(tmp_path)
    file.write_text(every_option(file.read_text()))
    supply_torch_files(tmp_path)
    project = load_project(tmp_path).project
    assert set(project.data) == set(SPLITS)
    assert len(project.metrics) == 2
    assert len(project.budget) == 3
    assert project.traffic is not None


def test_options_in_the_template_stand_at_their_defaults(tmp_path):
    file = api.init(tmp_path)
    file.write_text(every_option(file.read_text()))
    supply_torch_files(tmp_path)
    project = load_project(tmp_path).project
    assert project.measurement == Schedule()
    assert project.limits.model_copy(update={"memory_mb": None}) == ProjectLimits()
    for key in ("baseline", "providers", "batch_sizes", "allow_fallback"):
        assert getattr(project, key) == Project.model_fields[key].default, key


@pytest.mark.parametrize("onnx", [None, "model.onnx"])
def test_template_explains_every_key_of_a_project(tmp_path, onnx):
    file = api.init(tmp_path, onnx=onnx)
    keys = yaml.safe_load(every_option(file.read_text()))
    assert set(keys) == set(Project.model_fields)
    sections = {"baseline": BaselineSpec, "traffic": Traffic, "measurement": Schedule}
    sections["limits"] = ProjectLimits
    for key, kind in sections.items():
        assert set(keys[key]) == set(kind.model_fields), key
    named = {option for metric in keys["metrics"] for option in metric} | {"max_drop_relative"}
    assert named == set(MetricSpec.model_fields)


def test_path_of_an_onnx_file_is_written_relative_to_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = api.init(Path("made/here"), onnx='odd "name".onnx')
    assert yaml.safe_load(file.read_text())["model"] == {"onnx": '../../odd "name".onnx'}


def test_refuses_to_overwrite_a_project_unless_forced(tmp_path):
    file = api.init(tmp_path)
    file.write_text("mine")
    with pytest.raises(ConfigError, match=r"exists already.*--force"):
        api.init(tmp_path)
    assert file.read_text() == "mine"
    api.init(tmp_path, force=True)
    assert file.read_text() != "mine"


@pytest.mark.parametrize("force", [False, True])
def test_refuses_a_file_in_place_of_a_directory(tmp_path, force):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        api.init(tmp_path / "file", force=force)

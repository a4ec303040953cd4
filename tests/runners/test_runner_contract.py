"""What holds for every runner; one that is added is checked without a line here."""

from __future__ import annotations

import json
import typing

import pytest

from mlopt.errors import ConfigError
from mlopt.runners import RUNNERS
from mlopt.types.artifact import Format

every_runner = pytest.mark.parametrize("name", list(RUNNERS.entries))


def test_the_folder_holds_the_reference_and_the_runtime():
    assert {"pytorch", "onnxruntime"} <= set(RUNNERS.entries)


@every_runner
def test_a_runner_is_called_like_its_file(name):
    assert RUNNERS[name].name == name == RUNNERS[name].__module__.split(".")[-1]


@every_runner
def test_a_runner_says_in_one_line_what_it_is_and_what_it_executes(name):
    kind = RUNNERS[name]
    assert kind.summary
    assert "\n" not in kind.summary
    assert kind.formats
    assert set(kind.formats) <= set(typing.get_args(Format))


@every_runner
def test_every_setting_of_a_runner_is_explained_in_its_docstring(name):
    kind = RUNNERS[name]
    _, _, section = (kind.__doc__ or "").partition("Attributes:")
    assert [field for field in kind.model_fields if f"\n        {field}: " not in section] == []


@every_runner
@pytest.mark.parametrize("cpus", [1, 2, 64])
def test_a_resolved_runner_leaves_nothing_to_be_chosen(name, cpus):
    resolved = RUNNERS[name]().resolve(cpus)
    assert "auto" not in resolved.model_dump().values()
    assert resolved.resolve(cpus + 1) == resolved


@every_runner
def test_the_settings_of_a_runner_survive_json(name):
    kind = RUNNERS[name]
    for one in (kind(), kind().resolve(3)):
        assert kind.model_validate(json.loads(json.dumps(one.model_dump(mode="json")))) == one
    assert kind.model_json_schema()["additionalProperties"] is False


@every_runner
def test_a_runner_can_be_used_where_the_tests_run(name):
    assert RUNNERS[name]().unavailable_because() is None


@every_runner
def test_a_runner_whose_library_is_missing_says_what_to_install(name, monkeypatch):
    def nothing(*_: object) -> None:
        return None

    def no_version(package: str) -> str:
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(package)

    monkeypatch.setattr("importlib.util.find_spec", nothing)
    monkeypatch.setattr("mlopt.providers._base.version", no_version)
    reason = RUNNERS[name]().unavailable_because()
    assert reason is not None
    assert "pip install" in reason
    assert "\n" not in reason


def test_an_unknown_runner_is_met_with_what_might_be_meant():
    with pytest.raises(ConfigError) as caught:
        RUNNERS["onnxruntme"]
    assert str(caught.value) == "unknown runner 'onnxruntme'. Did you mean 'onnxruntime'?"

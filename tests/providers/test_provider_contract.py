"""What holds for every provider; one that is added is checked without a line here."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError

import onnxruntime
import pytest

from mlopt.errors import ConfigError, UnavailableError
from mlopt.providers import (
    PROVIDERS,
    Provider,
    available_providers,
    known_providers,
    resolve_provider,
    runtime_builds,
    runtime_problem,
)
from mlopt.providers.cpu import CpuProvider
from mlopt.providers.generic import GenericProvider

OWN = [name for name in PROVIDERS.entries if name != "generic"]
KNOWN = known_providers()
every_provider = pytest.mark.parametrize("name", list(PROVIDERS.entries))
every_known_provider = pytest.mark.parametrize("name", list(KNOWN))


def _no_version(package: str) -> str:
    raise PackageNotFoundError(package)


def test_the_folder_holds_the_cpu_and_the_generic_provider():
    assert {"cpu", "cuda", "openvino", "tensorrt", "generic"} <= set(PROVIDERS.entries)
    assert list(available_providers()) == list(KNOWN)
    assert set(OWN) <= set(KNOWN)
    assert available_providers()["cpu"] is None


@every_provider
def test_a_provider_is_called_like_its_file(name):
    assert PROVIDERS[name].name == name == PROVIDERS[name].__module__.split(".")[-1]


@every_provider
def test_a_provider_says_in_one_line_what_it_is_and_how_to_get_it(name):
    kind = PROVIDERS[name]
    assert kind.summary
    assert "\n" not in kind.summary + kind.install
    assert kind.install.endswith(".")


@every_known_provider
def test_a_variant_has_a_name_of_its_own_and_one_line_that_says_what_it_changes(name):
    one = KNOWN[name]
    assert one.label == name
    assert one.variant is None or name == f"{one.name}-{one.variant}"
    assert set(one.variants) == set(one.variant_summaries)
    assert "\n" not in one.about
    assert len(one.about) <= 80
    assert one.binding is None or one.binding.device in {"cpu", "cuda"}


def test_no_two_providers_say_the_same_of_themselves():
    assert len({one.about for one in KNOWN.values()}) == len(KNOWN)


@every_known_provider
def test_a_provider_has_the_name_that_onnx_runtime_gives_it(name):
    provider = KNOWN[name]
    assert provider.ort_name in onnxruntime.get_all_providers()
    json.dumps(provider.options())


@every_known_provider
def test_a_provider_survives_json(name):
    provider = KNOWN[name]
    stored = json.loads(json.dumps(provider.model_dump(mode="json")))
    assert type(provider).model_validate(stored) == provider


@every_known_provider
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_a_provider_is_found_by_its_name_in_any_case(name, spell):
    provider = KNOWN[name]
    assert resolve_provider(spell(name)) == provider
    assert resolve_provider(spell(provider.ort_name)) == type(provider)()
    assert resolve_provider(provider.label) == provider


@pytest.mark.parametrize("ort_name", onnxruntime.get_all_providers())
def test_every_provider_of_onnx_runtime_is_found_by_its_name_in_any_case(ort_name):
    for name in (ort_name, ort_name.upper(), ort_name.removesuffix("ExecutionProvider").lower()):
        found = resolve_provider(name)
        assert found.ort_name == ort_name
        assert resolve_provider(found.label) == found


def test_a_provider_without_a_file_goes_by_its_own_name():
    provider = resolve_provider("XNNPACK")
    assert provider == GenericProvider(runtime_name="XnnpackExecutionProvider")
    assert (provider.label, provider.host_memory) == ("xnnpack", False)


@every_provider
def test_a_provider_says_why_it_is_unavailable_and_how_to_mend_it(name, monkeypatch):
    monkeypatch.setattr("mlopt.providers._base.version", _no_version)
    provider = PROVIDERS[name]()
    reason = provider.unavailable_because()
    assert reason is not None
    assert "pip install" in reason
    with pytest.raises(UnavailableError) as caught:
        provider.require()
    assert str(caught.value) == f"provider '{provider.label}' is unavailable: {reason}"


@every_known_provider
def test_a_provider_that_this_onnx_runtime_lacks_says_what_to_install(name, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", list)
    own_module = sys.modules[KNOWN[name].__module__]
    monkeypatch.setattr(own_module, "find_spec", lambda package: None, raising=False)
    reason = KNOWN[name].unavailable_because()
    assert reason is not None
    assert reason.endswith(KNOWN[name].install)
    assert "pip install" in reason


@pytest.mark.parametrize(
    ("installed", "beginning"),
    [
        ({}, "neither onnxruntime nor onnxruntime-gpu is installed. "),
        ({"onnxruntime": "1.24.0"}, None),
        ({"onnxruntime-gpu": "1.24.0"}, None),
        (
            {"onnxruntime": "1.24.0", "onnxruntime-gpu": "1.25.0"},
            "onnxruntime 1.24.0 and onnxruntime-gpu 1.25.0 overwrite each other's files. ",
        ),
    ],
)
def test_one_line_says_what_is_wrong_with_onnx_runtime(installed, beginning, monkeypatch):
    def version(package: str) -> str:
        return installed[package] if package in installed else _no_version(package)

    monkeypatch.setattr("mlopt.providers._base.version", version)
    problem = runtime_problem()
    if beginning is None:
        assert problem is None
    else:
        assert problem is not None
        assert problem.startswith(beginning)
        assert "pip install 'mlopt[cpu]'" in problem
        assert "pip install 'mlopt[gpu]'" in problem


@pytest.mark.parametrize(
    ("name", "hint"), [("cudaa", "Did you mean 'cuda'?"), ("tensort", "Did you mean 'tensorrt'?")]
)
def test_an_unknown_provider_is_met_with_what_might_be_meant(name, hint):
    with pytest.raises(ConfigError) as caught:
        resolve_provider(name)
    assert str(caught.value) == f"unknown provider '{name}'. {hint}"


def test_a_provider_can_be_asked_for_by_name_without_onnx_runtime(monkeypatch):
    monkeypatch.setattr("mlopt.providers._base.version", _no_version)
    monkeypatch.setattr("mlopt.providers.generic.runtime_problem", runtime_problem)
    assert resolve_provider("cpu") == CpuProvider()
    with pytest.raises(UnavailableError, match="neither onnxruntime nor onnxruntime-gpu"):
        resolve_provider("xnnpack")


def test_a_provider_must_say_what_onnx_runtime_calls_it():
    with pytest.raises(NotImplementedError, match="Provider must define ort_name"):
        _ = Provider().ort_name


def test_a_build_is_told_by_its_commit_and_without_the_paths_of_its_builder(monkeypatch):
    line = (
        "ORT Build Info: git-branch=rel/1.30, git-commit-id=6af1a93, build type=Release, "
        "cmake cxx flags: -I/home/builder/include"
    )
    monkeypatch.setattr("onnxruntime.get_build_info", lambda: line)
    monkeypatch.setattr(
        "onnxruntime.capi.build_and_package_info.cuda_version", "12.8", raising=False
    )
    assert runtime_builds() == {"onnxruntime": "6af1a93 Release", "CUDA": "12.8"}


def test_without_onnx_runtime_there_is_no_build(monkeypatch):
    monkeypatch.setattr("mlopt.providers._base.version", _no_version)
    assert runtime_builds() == {}

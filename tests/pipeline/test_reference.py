"""What a user may name as an artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from named_artifacts import make_artifact, write_run

from mlopt.errors import ConfigError, RunError
from mlopt.pipeline.reference import Entrant, Place, locate, on_provider, parse
from mlopt.pipeline.seal import artifact_sha256
from mlopt.providers.openvino import OpenVinoProvider
from mlopt.store.cache import Cache


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def run(tmp_path: Path, cache: Cache) -> Path:
    """A run that chose ``int8``; ``fp32`` is in the cache only, ``lost`` nowhere any more."""
    model = make_artifact(tmp_path / "run" / "model", b"int8")
    other = make_artifact(cache.root / "artifacts" / "ab" / "abc", b"fp32")
    hashes = {
        "fp32": artifact_sha256(other.manifest),
        "int8": artifact_sha256(model.manifest),
        "lost": "0" * 64,
        "unbuilt": None,
    }
    write_run(tmp_path / "run", hashes, chosen="int8")
    return tmp_path / "run"


def found(text: str, base: Path, cache: Cache, provider: str | None = None) -> Entrant:
    entrant = locate(text, base, cache, base / "made", provider)
    assert entrant is not None
    return entrant


def test_a_name_is_divided_where_the_disk_says(tmp_path: Path, run: Path) -> None:
    (tmp_path / "a@b.onnx").write_bytes(b"")
    assert parse("a@b.onnx", tmp_path) == Place(tmp_path / "a@b.onnx")
    assert parse("a@b.onnx@cuda", tmp_path) == Place(tmp_path / "a@b.onnx", None, "cuda")
    assert parse("run", tmp_path) == Place(run)
    assert parse("run@openvino", tmp_path) == Place(run, None, "openvino")
    assert parse("run:int8[a=1]@openvino", tmp_path) == Place(run, "int8[a=1]@openvino")
    assert parse(f"{run}:int8", Path("elsewhere")) == Place(run, "int8")
    assert parse("run:", tmp_path) is None
    assert parse("none.onnx", tmp_path) is None
    assert parse("none:int8", tmp_path) is None


def test_a_bare_file_runs_as_mlopt_would_run_it(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    entrant = found("m.onnx", tmp_path, cache)
    assert entrant.onnx == (tmp_path / "m.onnx").resolve()
    assert entrant.directory == tmp_path / "made"
    assert (entrant.runner, entrant.provider) == ("onnxruntime", "cpu")
    assert isinstance(entrant.settings["intra_op_threads"], int)


def test_an_artifact_runs_with_the_settings_that_stand_beside_it(
    tmp_path: Path, cache: Cache
) -> None:
    directory = make_artifact(tmp_path / "model", b"x").directory
    session = {"runner": "onnxruntime", "provider": "cpu", "settings": {"intra_op_threads": 3}}
    (directory / "session.json").write_text(json.dumps(session))
    entrant = found("model", tmp_path, cache)
    assert entrant.onnx is None
    assert entrant.stage.artifact == str(directory)
    assert entrant.settings == {"intra_op_threads": 3}


@pytest.mark.parametrize(
    ("stored", "settings", "on_the_cpu"),
    [
        pytest.param("openvino", {"static_shapes": True}, {"static_shapes": False}, id="suggested"),
        pytest.param("openvino", {"intra_op_threads": 3}, {"intra_op_threads": 3}, id="its own"),
        pytest.param("not-here", {"static_shapes": True}, {"static_shapes": True}, id="unknown"),
    ],
)
def test_on_another_provider_it_leaves_what_only_its_own_suggested(
    tmp_path: Path, cache: Cache, stored: str, settings: dict[str, Any], on_the_cpu: dict[str, Any]
) -> None:
    directory = make_artifact(tmp_path / "model", b"x").directory
    session = {"runner": "onnxruntime", "provider": stored, "settings": settings}
    (directory / "session.json").write_text(json.dumps(session))
    entrant = found("model", tmp_path, cache, "cpu")
    assert entrant.provider == "cpu"
    assert entrant.settings == on_the_cpu


@pytest.mark.parametrize(
    ("here", "runner", "settings"),
    [
        (("onnxruntime", "openvino"), "openvino", {"intra_op_threads": 3}),
        (("openvino",), "openvino", {"intra_op_threads": 3}),
        (("onnxruntime",), "onnxruntime", {"intra_op_threads": 3, "graph_optimization": "all"}),
    ],
)
def test_a_runner_that_cannot_run_here_gives_way_to_one_that_can(
    tmp_path: Path,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    here: tuple[str, ...],
    runner: str,
    settings: dict[str, Any],
) -> None:
    monkeypatch.setattr(OpenVinoProvider, "runners", lambda self: here)
    monkeypatch.setattr(OpenVinoProvider, "unavailable_because", lambda self: None)
    directory = make_artifact(tmp_path / "model", b"x").directory
    session = {"runner": "openvino", "provider": "openvino", "settings": {"intra_op_threads": 3}}
    (directory / "session.json").write_text(json.dumps(session))
    entrant = found("model", tmp_path, cache)
    assert (entrant.runner, entrant.provider) == (runner, "openvino")
    assert entrant.ships_with == (None if runner == "openvino" else "openvino")
    assert entrant.settings.items() >= settings.items()
    assert ("graph_optimization" in entrant.settings) == ("graph_optimization" in settings)


def test_somebody_elses_runner_keeps_its_model(tmp_path: Path, cache: Cache) -> None:
    directory = make_artifact(tmp_path / "model", b"x").directory
    session = {"runner": "theirs", "provider": "cpu", "settings": {"x": 1}}
    (directory / "session.json").write_text(json.dumps(session))
    entrant = found("model", tmp_path, cache)
    assert (entrant.runner, entrant.settings, entrant.ships_with) == ("theirs", {"x": 1}, None)


def test_on_the_cpu_a_model_of_openvinos_is_onnx_runtimes_and_back(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoProvider, "runners", lambda self: ("openvino",))
    monkeypatch.setattr(OpenVinoProvider, "unavailable_because", lambda self: None)
    directory = make_artifact(tmp_path / "model", b"x").directory
    settings = {"intra_op_threads": 3, "static_shapes": True}
    session = {"runner": "openvino", "provider": "openvino", "settings": settings}
    (directory / "session.json").write_text(json.dumps(session))
    moved = found("model", tmp_path, cache, "cpu")
    assert (moved.runner, moved.provider) == ("onnxruntime", "cpu")
    assert (moved.settings["intra_op_threads"], moved.settings["static_shapes"]) == (3, False)
    back = on_provider(moved, "openvino")
    assert (back.runner, back.settings) == ("openvino", settings)


def test_damaged_session_settings_are_an_error(tmp_path: Path, cache: Cache) -> None:
    directory = make_artifact(tmp_path / "model", b"x").directory
    (directory / "session.json").write_text("[]")
    with pytest.raises(RunError, match=r"session\.json is damaged"):
        locate("model", tmp_path, cache, tmp_path / "made")


def test_a_run_means_what_it_chose(run: Path, cache: Cache) -> None:
    assert found("run", run.parent, cache).directory == run / "model"


def test_a_run_without_its_model_is_found_in_the_cache(run: Path, cache: Cache) -> None:
    entry = cache.root / "artifacts" / "cd" / "cde"
    entry.parent.mkdir()
    (run / "model").rename(entry)
    assert found("run", run.parent, cache).directory == entry


def test_a_candidate_of_a_run_is_found_by_its_content(run: Path, cache: Cache) -> None:
    entrant = found("run:fp32", run.parent, cache)
    assert entrant.directory == cache.root / "artifacts" / "ab" / "abc"
    assert entrant.settings == {"intra_op_threads": 7}
    assert found("run:fp32@cpu", run.parent, cache).directory == entrant.directory


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run:fp23", "no candidate 'fp23'. Did you mean 'fp32'"),
        ("run:lost", "neither in the cache.*mlopt optimize"),
        ("run:unbuilt", "neither in the cache"),
        ("run:fp32@nosuch", "unknown provider 'nosuch'"),
        ("run@nosuch", "unknown provider 'nosuch'"),
        ("empty", "holds no artifact"),
    ],
)
def test_what_cannot_be_found_is_an_error_that_says_what_to_do(
    run: Path, cache: Cache, name: str, message: str
) -> None:
    (run.parent / "empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        locate(name, run.parent, cache, run.parent / "made")


def test_a_run_that_chose_nothing_lists_its_candidates(tmp_path: Path, cache: Cache) -> None:
    write_run(tmp_path / "run", {"fp32": None}, chosen=None)
    with pytest.raises(ConfigError, match="'run:fp32'"):
        locate("run", tmp_path, cache, tmp_path / "made")


def test_an_artifact_whose_file_was_replaced_is_refused(run: Path, cache: Cache) -> None:
    (run / "model" / "model.onnx").write_bytes(b"another model")
    with pytest.raises(RunError, match=r"model\.onnx is not the file that manifest\.json lists"):
        locate("run", run.parent, cache, run.parent / "made")


def test_a_torch_artifact_runs_in_pytorch_and_nowhere_else(tmp_path: Path, cache: Cache) -> None:
    make_artifact(tmp_path / "torch", b"x", kind="torch")
    assert found("torch", tmp_path, cache).runner == "pytorch"
    with pytest.raises(ConfigError, match="on the CPU only"):
        locate("torch@cuda", tmp_path, cache, tmp_path / "made")


def test_what_is_not_on_disk_is_for_others_to_explain(tmp_path: Path, cache: Cache) -> None:
    assert locate("int8-static", tmp_path, cache, tmp_path / "made") is None

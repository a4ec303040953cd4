"""What ``profile`` makes of a name: which artifact is timed, where, and with which settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from named_artifacts import make_artifact, write_run

from mlopt.errors import ConfigError, MloptError
from mlopt.pipeline import profile
from mlopt.pipeline.profile import ProfileRequest, profile_model
from mlopt.pipeline.seal import artifact_sha256
from mlopt.profiling.launch import Contestant, Setting
from mlopt.store.cache import Cache
from mlopt.types.plan import Schedule


class Timed(Exception):
    """What would have been timed."""

    def __init__(self, contestants: Sequence[Contestant], setting: Setting) -> None:
        super().__init__()
        self.stages = [one.stage for one in contestants]
        self.batch_sizes = tuple(setting.batch_sizes)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that chose ``int8``, and a cache that has its ``fp32``; nothing is timed."""
    model = make_artifact(tmp_path / "run" / "model", b"int8")
    other = make_artifact(tmp_path / "cache" / "artifacts" / "ab" / "abc", b"fp32")
    hashes = {"fp32": artifact_sha256(other.manifest), "int8": artifact_sha256(model.manifest)}
    write_run(tmp_path / "run", {**hashes, "unbuilt": None}, chosen="int8")

    def stop(contestants: Sequence[Contestant], setting: Setting, *_: object, **__: object) -> None:
        raise Timed(contestants, setting)

    monkeypatch.setattr(profile, "run_trial", stop)
    monkeypatch.setattr(profile, "admit", lambda entrants, **_: [None for _ in entrants])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def timed(model: str, **changes: Any) -> Timed:
    request = ProfileRequest(model, (), (), None, 0, Schedule(), None)._replace(**changes)
    with pytest.raises(Timed) as found:
        profile_model(request, Cache(Path("cache")), Path("work"), lambda event: None)
    return found.value


def refusal(model: str, **changes: Any) -> str:
    request = ProfileRequest(model, (), (), None, 0, Schedule(), None)._replace(**changes)
    with pytest.raises(MloptError) as found:
        profile_model(request, Cache(Path("cache")), Path("work"), lambda event: None)
    assert isinstance(found.value, ConfigError)
    return str(found.value)


def test_a_run_is_what_it_chose_with_the_settings_that_ship(run: Path) -> None:
    (stage,) = timed("run").stages
    assert stage.artifact == str(run / "model")
    assert (stage.provider, stage.settings) == ("cpu", {"intra_op_threads": 7})


def test_a_candidate_of_a_run_is_found_where_it_is_kept(run: Path) -> None:
    (stage,) = timed("run:fp32").stages
    assert Path(stage.artifact).name == "abc"


def test_on_each_provider_once(run: Path) -> None:
    found = timed("run", providers=("cpu", "CPUExecutionProvider"))
    assert [one.provider for one in found.stages] == ["cpu"]


@pytest.mark.parametrize(
    ("fixed", "asked", "used"), [(None, (), (1,)), (4, (), (4,)), (4, (4,), (4,))]
)
def test_batches_are_what_the_model_insists_on(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    fixed: int | None,
    asked: tuple[int],
    used: tuple[int],
) -> None:
    monkeypatch.setattr(profile, "admit", lambda *_, **__: [fixed])
    assert timed("run", batch_sizes=asked).batch_sizes == used


def test_another_batch_size_than_it_insists_on_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "admit", lambda *_, **__: [4])
    assert "batches of exactly 4: set --batch-size to 4" in refusal("run", batch_sizes=(4, 8))


def test_what_cannot_be_profiled_is_refused_with_a_way_out(run: Path) -> None:
    assert "there is no file or directory 'nowhere'" in refusal("nowhere")
    assert "has no candidate 'int9'. Did you mean 'int8'" in refusal("run:int9")
    for name in ("run@cpu", "run:fp32@cpu-coarse"):
        assert "says where it runs, and so does --provider" in refusal(name, providers=("cpu",))
    write_run(run, {"fp32": None}, chosen=None)
    assert "chose no candidate. Name one of its candidates: 'run:fp32'" in refusal("run")
    make_artifact(run.parent / "torch", b"x", kind="torch")
    assert "only ONNX models are profiled" in refusal("torch")

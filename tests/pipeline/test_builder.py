"""Candidates that are built side by side: what they share is built once, by the first of them."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlopt.errors import BuildError
from mlopt.pipeline import builder as building
from mlopt.pipeline.builder import Builder, Turn
from mlopt.store.cache import Cache
from mlopt.types.candidate import Step
from mlopt.workers import Limits, OnEvent, side_by_side

EXPORT = Step(transformation="export_onnx")
SIMPLIFY = Step(transformation="simplify")
FP16 = Step(transformation="fp16")
INVALID = Step(transformation="int8_static", options={"calibration": "guess"})


def keyed(key: str) -> SimpleNamespace:
    return SimpleNamespace(manifest=SimpleNamespace(key=key), directory=Path(key))


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Of a model that does not exist: an artifact is a directory whose key is in its name."""
    monkeypatch.setattr(building.Artifact, "open", lambda path: keyed(path.name))
    project: Any = SimpleNamespace(project=SimpleNamespace(training=None))
    prepared: Any = SimpleNamespace(
        project=project, source=keyed("source"), data={}, snapshots={}, training_sha256=None
    )
    return Builder(prepared, Cache(tmp_path), seed=0)


class Runs:
    """What a builder runs in workers; each takes a while."""

    def __init__(self, fails: str | None = None) -> None:
        self.names: list[str] = []
        self.fails = fails

    def __call__(self, step: Any, *_: Any) -> None:
        self.names.append(step.name)
        time.sleep(0.2)
        if step.name == self.fails:
            raise BuildError(f"{step.name} cannot do it")


def test_a_step_belongs_to_the_first_chain_that_has_it(builder: Builder) -> None:
    chains = [(EXPORT,), (EXPORT, SIMPLIFY), (EXPORT, SIMPLIFY, FP16), (EXPORT, FP16), (EXPORT,)]
    turns = builder.turns(chains)
    assert [len(turn.own) for turn in turns] == [1, 1, 1, 1, 0]
    assert len(turns[0].ended) == 4, "fp16 after another step is another one"


def test_what_follows_an_invalid_step_belongs_to_nobody(builder: Builder) -> None:
    (turn,) = builder.turns([(EXPORT, INVALID, FP16)])
    assert len(turn.own) == 1


def test_a_chain_waits_for_the_steps_of_another_and_not_for_its_own() -> None:
    ended = {key: threading.Event() for key in "ab"}
    first, second = Turn(frozenset("a"), ended), Turn(frozenset("b"), ended)
    first.wait("a")
    second.wait("unknown")
    second.end("a")
    assert not ended["a"].is_set(), "it is not its own"
    waiting = threading.Thread(target=second.wait, args=("a",), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    first.end("a", "b")
    waiting.join(60)
    assert not waiting.is_alive()
    assert not ended["b"].is_set()


def test_what_chains_share_is_built_once_and_by_the_first(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    monkeypatch.setattr(builder, "_run", runs)
    chains = [(EXPORT, SIMPLIFY), (EXPORT, FP16), (EXPORT, SIMPLIFY, FP16)]

    built = built_side_by_side(builder, chains)

    assert [one.cached_steps for one in built] == [0, 1, 2]
    assert sorted(runs.names) == ["export_onnx", "fp16", "fp16", "simplify"]


def test_a_step_that_fails_is_tried_once_and_costs_all_that_need_it(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(fails="simplify")
    monkeypatch.setattr(builder, "_run", runs)
    chains = [(EXPORT, SIMPLIFY, FP16), (EXPORT, SIMPLIFY), (EXPORT, SIMPLIFY, FP16), (EXPORT,)]

    *failed, whole = built_side_by_side(builder, chains)

    assert [str(one) for one in failed] == ["simplify cannot do it"] * 3
    assert whole.cached_steps == 1
    assert runs.names == ["export_onnx", "simplify"]


def built_side_by_side(builder: Builder, chains: list[tuple[Step, ...]]) -> list[Any]:
    def build(steps: tuple[Step, ...], turn: Turn, on_event: OnEvent) -> Any:
        return builder.build(steps, Limits, on_event, turn)

    turns = builder.turns(chains)
    tasks = [partial(build, *one) for one in zip(chains, turns, strict=True)]
    return list(side_by_side(tasks, lambda message, done: None, 3))

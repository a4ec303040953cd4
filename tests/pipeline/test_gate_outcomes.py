"""What becomes of a gate whose model dies, or that a line on throughput is part of."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from gate_cases import contest_of, quality

from mlopt.errors import MloptError, ModelError, WorkerError
from mlopt.pipeline import gate, gate_report
from mlopt.pipeline.accuracy import Exam
from mlopt.pipeline.contest import Side
from mlopt.pipeline.gate_request import GateRequest, Named
from mlopt.pipeline.gate_timing import Timed
from mlopt.pipeline.load import Ground
from mlopt.pipeline.reference import Entrant
from mlopt.project import load_project
from mlopt.store.cache import Cache
from mlopt.types.candidate import Stage
from mlopt.types.estimate import Estimate
from mlopt.types.gate import GateReport
from mlopt.types.load import LoadResult

SAME = Estimate(value=1.0, low=0.995, high=1.005)
SECONDS = 300.0


class Scene:
    """A gate of models that do not exist: all that would be measured is made up."""

    def __init__(self, project: Callable[..., Path], tmp_path: Path) -> None:
        self._project = project
        self._work = tmp_path
        self.dies: str | None = None
        seen = contest_of(SAME, "PASS")
        self.timed = Timed(seen, seen)
        self.seconds: list[float] = []
        self.load_error: MloptError | None = None

    def check(self, *budget: str) -> GateReport:
        loaded = load_project(self._project(budget=list(budget)))
        names = (Named(text, self._work) for text in ("new.onnx", "old.onnx"))
        request = GateRequest(loaded, *names, tolerance=0.02, max_seconds=SECONDS, seed=0)
        return gate.check_gate(request, Cache(self._work), self._work, lambda event: None)

    def enter(self, *_: object) -> tuple[dict[str, Entrant], SimpleNamespace]:
        roles = {"ship": "new.onnx", "reference": "old.onnx", "baseline": "fp32"}
        entrants = {
            role: Entrant(name, None, self._work, "onnxruntime", "cpu", {})
            for role, name in roles.items()
        }
        return entrants, SimpleNamespace(snapshots={"holdout": self._work})

    def answer(self, _: Exam, entrant: Entrant, role: str) -> SimpleNamespace:
        if role == self.dies:
            raise ModelError(f"'{entrant.name}' could not be scored: it died")
        return SimpleNamespace(placement=None)

    def load(
        self, _: Stage, size: int, lines: list[object], ground: Ground, tell: object
    ) -> object:
        assert ground.until is not None
        self.seconds.append(ground.until - time.monotonic())
        if self.load_error is not None:
            raise self.load_error
        no_results: tuple[LoadResult, ...] = ()
        return no_results


@pytest.fixture
def scene(
    onnx_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    made = Scene(onnx_project, tmp_path)
    side = Side("new.onnx", Stage(artifact="", runner="onnxruntime", provider="cpu"), 1000)
    answers = {"ship": quality(-0.005, 0.005)}
    for name, stand_in in {
        "enter": made.enter,
        "answer": made.answer,
        "compare_answers": lambda *_: answers,
        "slice_warnings": lambda *_: [],
        "time_workloads": lambda *_: [made.timed],
        "load_artifact": made.load,
        "side_of": lambda _: side,
    }.items():
        monkeypatch.setattr(gate, name, stand_in)
    monkeypatch.setattr(gate_report, "side_of", lambda _: side)
    return made


def test_what_ships_and_dies_fails_and_nothing_else_is_judged(scene: Scene) -> None:
    scene.dies = "ship"
    found = scene.check("size <= 1 MB")
    assert found.outcome == "FAIL"
    assert [(line.title, line.cause) for line in found.lines] == [
        ("it runs", "'new.onnx' could not be scored: it died")
    ]
    assert (found.ship, found.reference, found.baseline) == ("new.onnx", "old.onnx", "fp32")
    assert "no other line" in found.warnings[0]


@pytest.mark.parametrize("role", ["reference", "baseline"])
def test_anybody_else_who_dies_ends_the_gate_by_an_error(scene: Scene, role: str) -> None:
    scene.dies = role
    with pytest.raises(ModelError, match="it died"):
        scene.check("size <= 1 MB")


LOADED = ("p99 <= 5 s", "throughput >= 10 /s")


def test_a_load_has_as_much_time_again_and_says_where_that_was_too_little(scene: Scene) -> None:
    found = scene.check(*LOADED)
    assert [SECONDS - 10 < seconds <= SECONDS for seconds in scene.seconds] == [True]
    assert found.outcome == "INCONCLUSIVE"
    assert any("the load was ended after 300 s" in warning for warning in found.warnings)


def test_a_gate_that_fails_anyway_is_spared_the_load(scene: Scene) -> None:
    found = scene.check(*LOADED, "size <= 1 B")
    assert found.outcome == "FAIL"
    assert scene.seconds == []
    (throughput,) = [line for line in found.lines if "throughput" in line.title]
    assert str(throughput.verdict.settles).startswith("mending what fails")


def test_what_ships_and_dies_under_load_fails_beside_its_other_lines(scene: Scene) -> None:
    scene.load_error = WorkerError("out of memory")
    found = scene.check(*LOADED)
    (line,) = found.of("FAIL")
    assert line.cause == "'new.onnx' failed under load: out of memory"
    assert [x.title for x in found.of("PASS") if x.subject == "budget"] == ["p99 <= 5 s"]


def test_counts_stand_beside_the_numbers_of_their_own_trial(scene: Scene) -> None:
    more = contest_of(SAME, None, launches=7, rounds=84)
    more = more._replace(warnings=("B: one more thing",), stopped_because="the time limit")
    scene.timed = Timed(scene.timed.contest, more)
    found = scene.check("p99 <= 5 s")
    assert found.timing is not None
    assert (found.timing.launches, found.timing.stopped_because) == (4, "look 1 of 5")
    assert found.timing.p50_ratio_confidence == 0.98
    (absolute,) = found.absolute
    assert (absolute.launches, absolute.rounds, absolute.extends) == (7, 84, True)
    assert absolute.stopped_because == "the time limit"
    assert "old.onnx: one thing" in found.warnings
    assert "new.onnx (judged by the budget): one more thing" in found.warnings

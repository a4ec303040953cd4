"""The machine as ``doctor`` tells it, and the noise floor: its formula, its store, its measurement."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as reference

from mlopt.api import _noise, doctor, stored_noise_floor
from mlopt.api._doctor import _providers
from mlopt.api._noise import NoiseFloor, detectable, measure_noise_floor
from mlopt.errors import ConfigError, WorkerError
from mlopt.pipeline.tasks.sample import convolutions
from mlopt.providers import known_providers
from mlopt.types.estimate import Estimate
from mlopt.types.events import Event


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPT_CACHE_DIR", str(tmp_path / "cache"))


def floor_of(deviation: float = 0.01, launches: int = 8, machine: str = "this") -> NoiseFloor:
    """A floor whose interval is Student's for that deviation of one launch."""
    half = float(reference.t.ppf(0.975, launches - 1)) * deviation / math.sqrt(launches)
    return NoiseFloor(
        machine=machine,
        measured_at="2030-02-03T04:05:06Z",
        p50_ms=1.0,
        ratio=Estimate(value=1.001, low=1.001 * math.exp(-half), high=1.001 * math.exp(half)),
        launches=launches,
        launch_s=2.5,
    )


@pytest.mark.parametrize(("launches", "power"), [(4, 0.8), (4, 0.95), (8, 0.95), (24, 0.8)])
def test_the_smallest_change_is_found_as_often_as_it_says(launches: int, power: float) -> None:
    change = detectable(0.01, launches, power)
    rng = np.random.default_rng(launches)
    drawn = rng.normal(math.log1p(change), 0.01, (20_000, launches))
    error = drawn.std(axis=1, ddof=1) / math.sqrt(launches)
    low = drawn.mean(axis=1) - reference.t.ppf(0.975, launches - 1) * error
    assert (low > 0).mean() == pytest.approx(power, abs=0.01)  # three standard errors


def test_a_tolerance_of_that_size_passes_what_is_unchanged_as_often() -> None:
    tolerance = math.log1p(detectable(0.01, 8, 0.95))
    drawn = np.random.default_rng(5).normal(0, 0.01, (20_000, 8))
    error = drawn.std(axis=1, ddof=1) / math.sqrt(8)
    high = drawn.mean(axis=1) + reference.t.ppf(0.975, 7) * error
    assert (high < tolerance).mean() == pytest.approx(0.95, abs=0.01)


def test_the_deviation_of_a_launch_is_read_back_from_the_interval() -> None:
    assert floor_of(0.013, 6).deviation == pytest.approx(0.013)


def test_more_time_tells_smaller_changes_and_one_launch_tells_none() -> None:
    floor = floor_of()
    changes = [floor.smallest_change(seconds) for seconds in (5, 20, 60, 300)]
    assert changes == sorted(changes, reverse=True)
    assert floor.smallest_change(4.9) == math.inf
    assert floor.smallest_change(20) == pytest.approx(detectable(0.01, 8, 0.95))
    assert floor.smallest_change(300, most_launches=12) == floor.smallest_change(30)


def test_the_document_of_a_slow_machine_is_json_all_the_same() -> None:
    slow = floor_of().model_copy(update={"launch_s": 40.0})
    document = json.loads(json.dumps(slow.document(), allow_nan=False))
    assert document["smallest_change"]["20"] is None
    assert document["smallest_change"]["300"] > 0
    assert document["p50_ratio_ci"] == [slow.ratio.low, slow.ratio.high]


def test_a_floor_is_remembered_for_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_noise, "machine_hash", lambda: "this")
    assert stored_noise_floor() is None
    _noise._store(floor_of())
    assert stored_noise_floor() == floor_of()
    monkeypatch.setattr(_noise, "machine_hash", lambda: "another")
    assert stored_noise_floor() is None


def test_a_damaged_floor_is_none(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / _noise.FILE).write_text('{"machine": "this"')
    assert stored_noise_floor() is None


def test_doctor_tells_the_noise_floor_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlopt.api._doctor.LOAD_S", 0.01)
    monkeypatch.setattr(
        "mlopt.api._doctor.measure_noise_floor", lambda seconds, on_event: floor_of()
    )
    report = doctor(seconds=20)
    assert "in 20 s: 1.5%; in 60 s: " in report.noise[1]
    assert "; in 5 min: " in report.noise[1]
    assert report.document()["noise_floor"]["launches"] == 8
    assert "builds" in report.document()["environment"]


def test_a_floor_that_two_launches_do_not_tell_claims_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlopt.api._doctor.LOAD_S", 0.01)
    wide = floor_of(deviation=0.4, launches=2)
    assert wide.ratio.is_hardly_known
    monkeypatch.setattr("mlopt.api._doctor.measure_noise_floor", lambda seconds, on_event: wide)
    report = doctor(seconds=5)
    (words,) = report.noise
    assert "2 launches of 2.5 s are too few" in words
    assert "--seconds" in words
    floor = report.document()["noise_floor"]
    assert set(floor["smallest_change"].values()) == {None}
    assert floor["smallest_change_of_a_gate"] is None


def test_providers_and_variants_that_lack_the_same_share_a_line() -> None:
    known = known_providers()
    found: dict[str, str | None] = dict.fromkeys(known)
    found |= dict.fromkeys((n for n in known if n.startswith("cuda")), "there is no GPU.")
    found["openvino-bf16"] = "no bfloat16."
    checks = {check.name: check[1:] for check in _providers(found)}
    others = ", ".join(n for n in known if n.startswith("cuda-"))
    assert checks["provider cuda"] == ("missing", f"there is no GPU. (So it is with {others}.)")
    assert "provider cuda-graphs" not in checks
    assert checks["provider openvino"] == ("ok", known["openvino"].about)
    assert checks["provider openvino-bf16"] == ("missing", "no bfloat16.")
    assert checks["provider openvino-gpu"] == ("ok", known["openvino-gpu"].about)


def test_doctor_without_a_floor_still_tells_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seconds: float, on_event: object) -> NoiseFloor:
        raise WorkerError("the process was killed")

    monkeypatch.setattr("mlopt.api._doctor.LOAD_S", 0.01)
    monkeypatch.setattr("mlopt.api._doctor.measure_noise_floor", fail)
    report = doctor()
    assert report.noise == []
    assert report.document()["noise_floor"] is None
    assert report.checks[-1] == ("noise floor", "warning", "not measured: the process was killed")
    assert "noise floor" not in {check.name for check in doctor(seconds=None).checks}


@pytest.mark.parametrize("seconds", [4.9, -1.0, math.inf, math.nan])
def test_a_time_that_tells_nothing_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="--no-noise"):
        doctor(seconds=seconds)


def test_the_sample_is_the_same_every_time() -> None:
    first = convolutions(0).SerializeToString(deterministic=True)
    assert convolutions(0).SerializeToString(deterministic=True) == first
    assert convolutions(1).SerializeToString(deterministic=True) != first


def test_a_model_against_itself_is_timed_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_noise, "LAUNCH_S", 60.0)
    monkeypatch.setattr(_noise, "LEAST_LAUNCHES", 2)
    events: list[Event] = []
    floor = measure_noise_floor(120.0, events.append)
    assert floor.launches == 2
    assert floor.ratio.low is not None
    assert floor.ratio.low < floor.ratio.value < (floor.ratio.high or 0)
    assert floor.launch_s > 0
    assert events[0].phase == "check"
    assert "time" in {event.phase for event in events}
    assert stored_noise_floor() == floor

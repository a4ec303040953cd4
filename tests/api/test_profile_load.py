"""``profile --load``: which options need which, and what comes out of a tiny model."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlopt import api
from mlopt.api import _profile
from mlopt.api._profile_load import LoadOptions, load_notes
from mlopt.cli.app import main
from mlopt.errors import ConfigError
from mlopt.profiling import load
from mlopt.types.estimate import Estimate
from mlopt.types.load import LoadResult
from mlopt.types.measurement import Evidence
from mlopt.types.plan import Schedule
from mlopt.types.workload import Workload

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))
from linear_project import write_onnx

NOTHING: dict[str, Any] = {
    "load": True, "callers": (), "rates": (), "p99": None, "target_qps": None, "headroom": None,
    "seconds": None,
}  # fmt: skip


def checked(**options: Any) -> LoadOptions | None:
    return LoadOptions.checked(**(NOTHING | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"load": False, "callers": [2]}, "--callers needs --load"),
        ({"load": False, "rates": [9.0], "p99": "5 ms"}, "--rate, --p99 needs --load"),
        ({"load": False, "seconds": 1.0}, "--seconds needs --load"),
        ({"target_qps": 100.0}, "--target-qps needs --p99"),
        ({"headroom": 0.5}, "--headroom needs --target-qps"),
        ({"p99": "5 ms", "target_qps": 9.0, "headroom": 1.0}, "from 0 to below 1, and is 1"),
        ({"p99": "5"}, "--p99 '5' is no duration. Write it as '5 ms'"),
        ({"p99": "fast"}, "--p99 'fast' is no duration"),
        ({"p99": "5 ms", "target_qps": -1.0}, "--target-qps must be positive, and is -1"),
        ({"rates": [10.0, 0.0]}, "--rate must be positive, and is 0"),
        ({"seconds": float("inf")}, "--seconds must be positive, and is inf"),
        ({"callers": [0]}, "--callers must be at least 1"),
    ],
)
def test_an_option_that_is_wrong_or_needs_another_says_so(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(**options)


def test_without_load_nothing_is_asked() -> None:
    assert checked(load=False) is None


def test_what_is_not_given_has_a_default() -> None:
    asked = checked(p99="0.5 s", callers=[4, 4, 1])
    assert asked is not None
    assert asked.request.callers == (4, 1)
    assert asked.request.p99_budget_ms == 500
    assert asked.headroom == 0.3


def test_a_wrong_option_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "nowhere.onnx", "--rate", "100"]) == 2
    assert "--rate needs --load" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (
            Estimate(value=200, low=200, high=210),
            "8 replica(s) serve 1000 /s: each sustains 200 /s",
        ),
        (Estimate(value=50, high=50), "Replicas for 1000 /s cannot be told"),
        (None, "Replicas for 1000 /s cannot be told"),
    ],
)
def test_replicas_are_told_only_of_a_rate_that_was_shown(rate: Estimate | None, words: str) -> None:
    result = LoadResult(
        workload=Workload(),
        threads=1,
        p99_budget_ms=5,
        points=(),
        sustained_per_s=rate,
        stopped_because="done",
    )
    evidence = Evidence(
        measurements=(), quality=None, cold_start_ms=None, peak_rss_bytes=None, load=(result,)
    )
    asked = checked(p99="5 ms", target_qps=1000.0)
    assert asked is not None
    assert words in load_notes("cpu", evidence, asked)[-1]


def test_a_tiny_model_is_loaded_in_closed_and_open_loops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "find_sustained", lambda probe, *_, **__: searched(probe))
    monkeypatch.setattr(_profile, "Schedule", partial(Schedule, most_launches=2))
    write_onnx(tmp_path / "model.onnx")
    result = api.profile(
        tmp_path / "model.onnx",
        launches=2,
        rounds=1,
        time_limit_s=60,
        load=True,
        callers=[1, 2],
        rates=[50],
        p99="5 s",
        target_qps=100,
        seconds=0.4,
    )
    (provider,) = result.document()["providers"]
    (found,) = provider["load"]
    points = found["points"]
    assert [(p["loop"], p["rate_per_s"]) for p in points] == [
        ("closed", None),
        ("closed", None),
        ("open", 50.0),
        ("open", 80.0),
    ]
    assert [p["callers"] for p in points[:2]] == [1, 2]
    assert all(p["requests"] > 0 and p["launches"] == 2 for p in points)
    assert all(p["unserved"] == 0 for p in points)
    assert found["p99_budget_ms"] == 5000
    assert found["replicas"] is None, "so few requests show nothing"
    assert [row.rate for row in result.load_rows] == ["", "", "50", "80"]


def searched(probe: Any) -> Any:
    """A search that tries one rate."""
    from mlopt.profiling.sustained import Search

    probe(80.0)
    return Search(None, "the test said so")

"""The benchmark of the intervals in small: its own functions, with fewer runs.

A count fails where one as low (or as high) would occur once in a thousand times if the promise were
just kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import load_script
from scipy import stats

pytestmark = pytest.mark.slow

RUNS = 100
RARE = 1e-3


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    return load_script("interval_coverage")


@pytest.mark.parametrize("name", ["bimodal, launch effects", "AR(1), launch effects"])
def test_the_intervals_hold_the_truth_as_often_as_promised(
    name: str, simulation: ModuleType
) -> None:
    held = simulation.coverage(simulation.SCENARIOS[name], RUNS, 1)
    assert min(held.values()) >= stats.binom.ppf(RARE, RUNS, 0.93)


def test_the_gate_errs_as_rarely_as_promised(simulation: ModuleType) -> None:
    found = simulation.gate(simulation.SCENARIOS["launch effects"], RUNS, 1)
    assert max(found.values()) <= stats.binom.ppf(1 - RARE, RUNS, 0.025)


def test_the_truth_is_the_truth(simulation: ModuleType) -> None:
    true = simulation.truth(simulation.SCENARIOS["log-normal"], simulation.np.random.default_rng(0))
    sd, z = 0.1, stats.norm.ppf(0.99)
    assert true["p50"] == pytest.approx(1, abs=1e-3)
    assert true["p99"] == pytest.approx(simulation.math.exp(sd * z), rel=1e-3)
    assert true["mean"] == pytest.approx(simulation.math.exp(sd**2 / 2), rel=1e-3)


def test_the_table_marks_what_does_not_keep_the_promise(simulation: ModuleType) -> None:
    names = simulation.ESTIMANDS
    counts = dict.fromkeys(names, 95) | {"mean": 92, "p50": 98, "p99 ratio": 98}
    seen = {f"coverage/{name}": counts for name in ("log-normal", "linear drift of 5%")}
    written = simulation.document(seen, 100).splitlines()
    steady = next(line for line in written if line.startswith("| log-normal"))
    drifting = next(line for line in written if line.startswith("| linear drift of 5%"))
    assert [cell.startswith(" **") for cell in steady.split("|")[2:7]] == [1, 0, 1, 0, 1]
    assert [cell.startswith(" **") for cell in drifting.split("|")[2:7]] == [0, 0, 1, 0, 1]


def test_what_is_finished_is_not_simulated_again(
    tmp_path: Path, simulation: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def cells(runs: int) -> dict[str, object]:
        return {name: lambda name=name: calls.append(name) or {"drift": 1} for name in ("a", "b")}

    monkeypatch.setattr(simulation, "cells", cells)
    state, out = tmp_path / "cells.json", tmp_path / "table.md"
    arguments = ["interval_coverage.py", "--runs", "2", "--state", str(state), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    simulation.main()
    simulation.main()
    assert calls == ["a", "b"]
    assert out.read_text().startswith("# Coverage of the intervals")

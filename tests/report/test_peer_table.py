"""The page of ``benchmarks/peers.py``: what it says of results that are written down here."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import load_script


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return load_script("peer_table")


def estimate(value: float, half: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def result(model: str, ratio: float, *, random: bool, over_fastest: float = 0.0) -> dict[str, Any]:
    answers = {"metric": "agreement", "value": 0.99, "delta": estimate(-0.01)}
    ours = answers | {
        "candidate": "int8@openvino",
        "p50_ms": estimate(2.0),
        "ratio": estimate(1.0, 0.0),
        "over_fastest": estimate(over_fastest, 0.002),
        "higher_is_better": True,
    }
    if not random:
        ours |= {"margin": 0.01, "verdict": "PASS"}
    peer = answers | {"p50_ms": estimate(2.0 / ratio), "ratio": estimate(ratio)}
    return {
        "model": model,
        "random": random,
        "members": {
            "peer": peer,
            "slow": answers | {"first_look_ms": 9.0},
            "broken": {"failed": "ValueError: no | kernel in /tmp/here/model.onnx"},
            "missing": {"absent": "olive is not installed"},
            "mlopt's choice": ours,
        },
        "fastest_peer": "peer",
        "settings": {"provider": "openvino", "settings": {"intra_op_threads": 2}},
        "optimize_s": {"build": 60.0, "time": 120.0},
        "launches": 5,
        "rounds": 50,
        "machine": {"cpu": "Processor", "cpus": 2, "flags": ["avx2"]},
        "versions": {"onnxruntime": "1.0"},
        "finished": "2026-01-02",
    }


def test_the_geometric_mean_of_equal_ratios_is_that_ratio_and_better_known(
    table: ModuleType,
) -> None:
    one = {"value": 0.8, "low": 0.8 / 1.1, "high": 0.8 * 1.1}
    value, low, high = table.geometric_mean([one] * 4)
    assert value == pytest.approx(0.8)
    assert (low, high) == pytest.approx((0.8 / 1.1**0.5, 0.8 * 1.1**0.5))


def test_targets_that_are_reached_are_said_to_be(table: ModuleType) -> None:
    found = [result("a", 0.8, random=True), result("b", 0.7, random=False)]
    words = "\n".join(table.targets(found))
    assert "not reached" not in words
    assert "0.748" in words


def test_every_target_that_is_missed_names_the_model(table: ModuleType) -> None:
    worse = result("a", 1.025, random=True, over_fastest=-0.01)
    unproven = result("b", 0.9, random=False)
    unproven["members"]["mlopt's choice"]["verdict"] = "INCONCLUSIVE"
    slower, mean, sample, agreement = (
        line for line in table.targets([worse, unproven]) if line.startswith("-")
    )
    assert "**not reached** by a (1.035)" in slower
    assert "**not reached**" in mean
    assert "**not reached** by b (INCONCLUSIVE)" in sample
    assert "**not reached** by a (-0.0100 (-0.0120 to -0.0080))" in agreement


def test_a_peer_that_fails_or_is_absent_has_a_row_with_its_cause_and_no_path(
    table: ModuleType,
) -> None:
    page = "\n".join(table.document([result("a", 0.8, random=True)], ["a", "b"]))
    assert "| broken | failed: ValueError: no \\| kernel in …/model.onnx |" in page
    assert "| missing | absent: olive is not installed |" in page
    assert "| slow | 9, first look only |" in page
    assert "/tmp" not in page
    assert "Not compared yet: b." in page


def test_rows_stand_in_the_order_of_their_p50_after_that_of_mlopt(table: ModuleType) -> None:
    page = list(table.document([result("a", 0.8, random=True)], ["a", "b"]))
    rows = [line.split(" | ")[0] for line in page[page.index("## a") :] if line.startswith("| ")]
    assert rows == ["|", "| mlopt's choice", "| peer", "| slow", "| broken", "| missing"]


def test_where_machines_differ_each_model_names_its_own(table: ModuleType) -> None:
    one, other = (result(name, 0.8, random=True) for name in "ab")
    same = "\n".join(table.document([one, other], ["a", "b"]))
    assert same.count("2 processors of an Processor (avx2)") == 1
    other["machine"] = {"cpu": "Another", "cpus": 4, "flags": ["amx_int8"]}
    page = "\n".join(table.document([one, other], ["a", "b"]))
    first, second = page.split("## b")
    assert "on 2 machines, of which each model names its own" in first
    assert "On 2 processors of an Processor (avx2), 2026-01-02." in first
    assert "On 4 processors of an Another (amx_int8), 2026-01-02." in second


def test_the_page_is_made_of_what_is_kept_whenever_it_was_found(
    table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "RESULTS", tmp_path / "peers")
    monkeypatch.setattr(table, "TABLE", tmp_path / "docs" / "peers.md")
    for ratio in (0.9, 0.7):
        table.keep(result("b", ratio, random=True))
    table.keep(result("a", 0.8, random=True))
    table.write(["a", "b", "c"])
    assert "/tmp" not in (tmp_path / "peers" / "a.json").read_text("utf-8")
    page = (tmp_path / "docs" / "peers.md").read_text("utf-8")
    assert page.index("## a") < page.index("## b")
    assert "0.700 (0.690 to 0.710)" in page
    assert "0.900" not in page
    assert "Not compared yet: c." in page

"""``mlopt diagnose``: what it asks of the API, and what it shows."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlopt import api
from mlopt.report.diagnosis import Part

OPTIONS = {"provider", "data", "batch_size", "seed", "on_event"}


@pytest.fixture
def diagnose(fake_api: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def call(model: str, **options: Any) -> SimpleNamespace:
        seen.update(options, model=model)
        part = Part("Where the time goes", ("operator", "time"), (("[Conv]", "1.00 ms"),))
        return SimpleNamespace(
            sentence="m.onnx: 1.00 ms an inference",
            parts=[part],
            findings=["in INT8 run 2 QLinearConv"],
            advice=["pass fuse: because"],
            notes=[],
            document=lambda: {"p50_ms": 1.0},
        )

    fake_api.diagnose = call
    return seen


def test_diagnose_passes_its_options_on(mlopt_command: Any, diagnose: dict[str, Any]) -> None:
    words = "diagnose run:b -p openvino --data d.npz --batch-size 8 --seed 4"
    code, out, _ = mlopt_command(*words.split())

    assert code == 0
    assert set(diagnose) == OPTIONS | {"model"}
    del diagnose["on_event"]
    assert diagnose == {
        "model": "run:b",
        "provider": "openvino",
        "data": Path("d.npz"),
        "batch_size": 8,
        "seed": 4,
    }
    lines = out.splitlines()
    assert lines[0] == "m.onnx: 1.00 ms an inference"
    assert lines[2] == "Where the time goes"
    assert lines[4].split() == ["[Conv]", "1.00", "ms"]
    assert lines[-2:] == ["What to try next", "- pass fuse: because"]


def test_diagnose_prints_json_and_nothing_when_quiet(
    mlopt_command: Any, diagnose: dict[str, Any]
) -> None:
    assert json.loads(mlopt_command("diagnose", "m", "--json")[1]) == {"p50_ms": 1.0}
    assert mlopt_command("diagnose", "m", "--quiet")[1] == ""


def test_the_api_takes_what_the_command_line_gives() -> None:
    assert set(inspect.signature(api.diagnose).parameters) == OPTIONS | {"model"}


@pytest.mark.parametrize("words", ["diagnose", "diagnose m --batch-size 0", "diagnose m n"])
def test_wrong_usage_is_refused(mlopt_command: Any, diagnose: dict[str, Any], words: str) -> None:
    assert mlopt_command(*words.split())[0] == 2

"""``mlopt compare`` and ``mlopt gate``: what they ask of the API, and what they show."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from mlopt import api

COMPARE = {
    "data", "project", "provider", "batch_size", "max_seconds", "launches", "seed", "on_event",
}  # fmt: skip
GATE = {
    "candidate", "reference", "budget", "max_drop", "tolerance", "max_seconds", "junit", "github",
    "seed", "on_event",
}  # fmt: skip


class CompareRow(NamedTuple):
    quantity: str = "p50, ms"
    a: str = "2.0"
    b: str = "1.4"
    ratio: str = "0.70"


class GateRow(NamedTuple):
    outcome: str = "FAIL"
    line: str = "p99 <= 5 ms [batch]"
    observed: str = "6 ms"
    settles: str = ""


@pytest.fixture
def compare(fake_api):
    seen = {}

    def call(a, b, **options):
        seen.update(options, a=a, b=b)
        return SimpleNamespace(
            sentence="B is 1.43x faster at p50 (1.40 to 1.46).",
            rows=[CompareRow()],
            notes=["5 launches"],
            document=lambda: {"p50_ratio": 0.7},
        )

    fake_api.compare = call
    return seen


def test_compare_passes_its_options_on(mlopt_command, compare):
    words = "compare a.onnx run:b@cuda -p cpu --batch-size 8 --launches 3 --max-seconds 2m --seed 4"
    code, out, _ = mlopt_command(*words.split(), "--data", "d.npz")
    assert code == 0
    assert set(compare) == COMPARE | {"a", "b"}
    del compare["on_event"]
    assert compare == {
        "a": "a.onnx",
        "b": "run:b@cuda",
        "data": Path("d.npz"),
        "project": None,
        "provider": "cpu",
        "batch_size": 8,
        "max_seconds": 120.0,
        "launches": 3,
        "seed": 4,
    }
    assert out.splitlines()[0] == "B is 1.43x faster at p50 (1.40 to 1.46)."
    assert "B over A" in out


def test_compare_has_a_limit_of_its_own(mlopt_command, compare):
    assert mlopt_command("compare", "a", "b", "--project", "p")[0] == 0
    assert compare["max_seconds"] == 60.0
    assert compare["project"] == Path("p")


def test_compare_prints_json_and_nothing_when_quiet(mlopt_command, compare):
    assert json.loads(mlopt_command("compare", "a", "b", "--json")[1]) == {"p50_ratio": 0.7}
    assert mlopt_command("compare", "a", "b", "--quiet")[1] == ""


@pytest.mark.parametrize(
    "words",
    ["compare a", "compare a b --max-seconds 0", "compare a b --launches 0", "gate --json=1"],
)
def test_wrong_usage_is_refused(mlopt_command, compare, words):
    assert mlopt_command(*words.split())[0] == 2


@pytest.fixture
def gate(fake_api):
    seen: dict[str, Any] = {"outcome": "FAIL", "code": 3, "annotations": []}

    def call(project, **options):
        seen["options"] = {**options, "project": project}
        return SimpleNamespace(
            report=SimpleNamespace(outcome=seen["outcome"]),
            sentence=f"{seen['outcome']}: new.onnx fails 1 of 2 lines: p99 <= 5 ms.",
            rows=[GateRow()],
            notes=["warning: noisy"],
            annotations=seen["annotations"],
            exit_code=seen["code"],
            document=lambda: {"verdict": seen["outcome"]},
        )

    fake_api.gate = call
    return seen


def test_gate_passes_its_options_on(mlopt_command, gate):
    words = (
        "gate p --candidate new.onnx --reference old.onnx -b p99<5ms --max-drop 0.01 --tolerance 0.05 "
        "--max-seconds 20 --junit j.xml --github --seed 4"
    )
    code, out, _ = mlopt_command(*words.split())
    assert code == 3
    assert set(gate["options"]) == GATE | {"project"}
    del gate["options"]["on_event"]
    assert gate["options"] == {
        "project": Path("p"),
        "candidate": "new.onnx",
        "reference": "old.onnx",
        "budget": ["p99<5ms"],
        "max_drop": 0.01,
        "tolerance": 0.05,
        "max_seconds": 20.0,
        "junit": Path("j.xml"),
        "github": True,
        "seed": 4,
    }
    assert "p99 <= 5 ms [batch]" in out
    assert "FAIL: new.onnx fails 1 of 2 lines" in out


def test_gate_leaves_to_the_project_what_is_not_given(mlopt_command, gate):
    mlopt_command("gate")
    given = {k: v for k, v in gate["options"].items() if k != "on_event" and v not in (None, ())}
    assert given == {"project": Path(), "seed": 0}
    mlopt_command("gate", "--no-github")
    assert gate["options"]["github"] is False


@pytest.mark.parametrize(("outcome", "code"), [("PASS", 0), ("FAIL", 3), ("INCONCLUSIVE", 4)])
def test_gate_ends_with_its_verdict(mlopt_command, gate, outcome, code):
    gate |= {"outcome": outcome, "code": code}
    assert mlopt_command("gate")[0] == code
    found, out, err = mlopt_command("gate", "--quiet")
    assert (found, out) == (code, "")
    assert (outcome in err) == (code != 0)


def test_annotations_never_stand_in_the_json_document(mlopt_command, gate):
    gate["annotations"] = ["::error title=a%3A b::50%25 [x]"]
    _, out, _ = mlopt_command("gate")
    assert out.splitlines()[0] == "::error title=a%3A b::50%25 [x]"
    _, out, err = mlopt_command("gate", "--json")
    assert json.loads(out) == {"verdict": "FAIL"}
    assert "::error title=a%3A b::50%25 [x]" in err.splitlines()


@pytest.mark.parametrize(
    ("function", "first", "options"), [(api.compare, 2, COMPARE), (api.gate, 1, GATE)]
)
def test_the_api_takes_what_the_command_line_gives(function, first, options):
    assert set(list(inspect.signature(function).parameters)[first:]) == options

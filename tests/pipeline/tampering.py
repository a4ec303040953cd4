"""Ways to change a stored run so that it says what its evidence does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.store.hashing import sha256_file

CANDIDATE = 1
"""The one that is not the baseline."""

OTHER = "01-int8-dynamic"
"""The beginning of the names of its files."""


class Tampering(NamedTuple):
    """A change, and where it must be found.

    Attributes:
        apply: Changes the run in a directory.
        file: The file that must be named.
        place: Beginning of the place in it, or a pattern of it.
    """

    name: str
    apply: Callable[[Path], None]
    file: str
    place: str


def of_run(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """A change of the document in ``run.json``."""

    def apply(run_dir: Path) -> None:
        document = json.loads((run_dir / "run.json").read_text())
        change(document)
        (run_dir / "run.json").write_text(json.dumps(document, indent=1) + "\n")

    return apply


def set_to(pointer: str, value: Any) -> Callable[[Path], None]:
    """Replaces what stands at a JSON pointer of ``run.json``; a function is given the old value."""
    *parents, last = (int(key) if key.isdigit() else key for key in pointer.split("/")[1:])

    def change(document: Any) -> None:
        for key in parents:
            document = document[key]
        document[last] = value(document[last]) if callable(value) else value

    return of_run(change)


def array_changed(
    path: str, name: str, change: Callable[[Any], None], *, mended: bool
) -> Callable[[Path], None]:
    """Changes an array of a file, and the hash in ``run.json`` with it if that is to be mended."""

    def apply(run_dir: Path) -> None:
        file = run_dir / path
        with np.load(file) as stored:
            arrays = {key: stored[key] for key in stored.files}
        change(arrays[name])
        before = sha256_file(file)
        np.savez_compressed(file, **arrays)
        if mended:
            text = (run_dir / "run.json").read_text()
            (run_dir / "run.json").write_text(text.replace(before, sha256_file(file)))

    return apply


def text_changed(path: str, pattern: str, replacement: str) -> Callable[[Path], None]:
    """Replaces the first match of a pattern in a text file; there must be one."""

    def apply(run_dir: Path) -> None:
        file = run_dir / path
        text, count = re.subn(pattern, replacement, file.read_text(), count=1, flags=re.MULTILINE)
        assert count == 1
        file.write_text(text)

    return apply


def add(amount: int) -> Callable[[Any], None]:
    """Adds to the first entry of an array."""

    def change(array: Any) -> None:
        array.flat[0] += amount

    return change


def budget_everywhere(run_dir: Path) -> None:
    """A wider budget in the plan, its copy in the run, and its hash."""
    plan = run_dir / "plan.json"
    document = json.loads(plan.read_text())
    document["budget"][0]["limit"] *= 2
    plan.write_text(json.dumps(document, indent=1) + "\n")
    set_to("/plan", document)(run_dir)
    set_to("/plan_sha256", sha256_file(plan))(run_dir)


def removed(path: str) -> Callable[[Path], None]:
    """Deletes a file."""
    return lambda run_dir: (run_dir / path).unlink()


_TIMED = f"/candidates/{CANDIDATE}/selection/measurements/0"
_SCORED = f"/candidates/{CANDIDATE}/selection/quality"
_SAMPLES = f"samples/selection/{OTHER}-batch-1.npz"
_ANSWERS = f"samples/selection/{OTHER}-predictions.npz"
_RUN, _ADR = "run.json", "adr.md"

TAMPERINGS = (
    Tampering(
        "a sample",
        array_changed(_SAMPLES, "ns", add(1), mended=False),
        _RUN,
        f"{_TIMED}/samples/sha256",
    ),
    Tampering(
        "a sample and its hash",
        array_changed(_SAMPLES, "ns", add(1000), mended=True),
        _RUN,
        f"{_TIMED}/mean_ms/value",
    ),
    Tampering(
        "a block and the hash",
        array_changed(_SAMPLES, "blocks", add(5), mended=True),
        _RUN,
        f"{_TIMED}/launches",
    ),
    Tampering(
        "the shape of samples",
        set_to(f"{_TIMED}/samples/shape", []),
        _RUN,
        f"{_TIMED}/samples/shape",
    ),
    Tampering("samples that are gone", removed(_SAMPLES), _SAMPLES, ""),
    Tampering(
        "a file too many",
        lambda run_dir: (run_dir / "samples/selection/07-x.npz").write_bytes(b"x"),
        "samples/selection/07-x.npz",
        "",
    ),
    Tampering(
        "a launch and the hash",
        array_changed(
            f"samples/selection/{OTHER}-launches.npz", "launches", add(10**6), mended=True
        ),
        _RUN,
        f"/candidates/{CANDIDATE}/selection/cold_start_ms/value",
    ),
    Tampering(
        "a p50", set_to(f"{_TIMED}/p50_ms/value", lambda v: v * 0.9), _RUN, f"{_TIMED}/p50_ms/value"
    ),
    Tampering(
        "the end of an interval",
        set_to(f"{_TIMED}/p90_ms/high", lambda v: v * 0.999),
        _RUN,
        f"{_TIMED}/p90_ms/high",
    ),
    Tampering(
        "a ratio",
        set_to(f"{_TIMED}/p50_ratio/value", lambda v: v - 1e-6),
        _RUN,
        f"{_TIMED}/p50_ratio/value",
    ),
    Tampering(
        "the number of rounds",
        set_to(f"{_TIMED}/rounds", lambda v: v + 40),
        _RUN,
        f"{_TIMED}/rounds",
    ),
    Tampering(
        "a diagnostic",
        set_to(f"{_TIMED}/diagnostics/0/status", "ok"),
        _RUN,
        f"{_TIMED}/diagnostics/0/status",
    ),
    Tampering(
        "a warning of a measurement",
        of_run(lambda run: run["candidates"][1]["selection"]["measurements"][0]["warnings"].pop()),
        _RUN,
        f"{_TIMED}/warnings",
    ),
    Tampering(
        "all warnings with their key",
        of_run(
            lambda run: [
                m.pop("warnings")
                for c in run["candidates"]
                for e in (c["selection"], c["confirmation"])
                if e
                for m in e["measurements"]
            ]
        ),
        _RUN,
        f"{_TIMED}/warnings",
    ),
    Tampering(
        "why a candidate left, made up",
        set_to(f"/candidates/{CANDIDATE}/selection/left_because", "it was slow"),
        _RUN,
        f"/candidates/{CANDIDATE}/selection/left_because",
    ),
    Tampering(
        "why a candidate left, which its samples do not show",
        set_to(
            f"/candidates/{CANDIDATE}/selection/left_because",
            "certainly slower than fp32, which may ship",
        ),
        _RUN,
        f"/candidates/{CANDIDATE}/selection/left_because",
    ),
    Tampering("a warning of the run", set_to("/warnings", lambda v: v[1:]), _RUN, "/warnings"),
    Tampering(
        "a delta",
        set_to(f"{_SCORED}/metrics/0/delta/value", lambda v: v + 0.01),
        _RUN,
        f"{_SCORED}/metrics/0/delta/value",
    ),
    Tampering(
        "a count of examples that were lost",
        set_to(f"{_SCORED}/metrics/0/lost", lambda v: v + 1),
        _RUN,
        f"{_SCORED}/metrics/0/lost",
    ),
    Tampering(
        "a p-value",
        set_to(f"{_SCORED}/metrics/0/p_value", lambda v: v * 0.999),
        _RUN,
        f"{_SCORED}/metrics/0/p_value",
    ),
    Tampering(
        "a slice",
        set_to(f"{_SCORED}/slices/0/value", lambda v: v / 2 + 0.1),
        _RUN,
        f"{_SCORED}/slices/0/value",
    ),
    Tampering(
        "a prediction",
        array_changed(
            _ANSWERS,
            "predictions",
            lambda a: a.__setitem__(slice(40), a[:40, ::-1].copy()),
            mended=True,
        ),
        _RUN,
        f"{_SCORED}/metrics/0/value",
    ),
    Tampering(
        "targets",
        array_changed(
            "samples/selection/targets.npz",
            "targets",
            lambda a: a.__setitem__(slice(30), (a[:30] + 1) % 3),
            mended=False,
        ),
        _RUN,
        f"{_SCORED}/metrics/0",
    ),
    Tampering(
        "a verdict",
        set_to("/decision/verdicts/0/outcome", "INCONCLUSIVE"),
        _RUN,
        "/decision/verdicts/0/outcome",
    ),
    Tampering(
        "the outcome", set_to("/decision/outcome", "INCONCLUSIVE"), _RUN, "/decision/outcome"
    ),
    Tampering(
        "the chosen candidate", set_to("/decision/chosen", "int8-dynamic"), _RUN, "/decision/chosen"
    ),
    Tampering(
        "the reason of a rejection",
        set_to("/decision/rejected/0/reason", "it was not liked"),
        _RUN,
        "/decision/rejected/0/reason",
    ),
    Tampering("the decision as a whole", set_to("/decision", None), _RUN, "/decision"),
    Tampering(
        "a candidate's evidence",
        set_to(f"/candidates/{CANDIDATE}/selection", None),
        _RUN,
        f"/candidates/{CANDIDATE}/status",
    ),
    Tampering(
        "a candidate's steps",
        set_to(f"/candidates/{CANDIDATE}/plan/steps", []),
        _RUN,
        f"/candidates/{CANDIDATE}/plan/steps",
    ),
    Tampering(
        "where its nodes ran",
        set_to(f"/candidates/{CANDIDATE}/fell_back", True),
        _RUN,
        f"/candidates/{CANDIDATE}/fell_back",
    ),
    Tampering(
        "the size of the artifact",
        set_to("/candidates/0/size_bytes", lambda v: v - 1),
        _RUN,
        "/candidates/0/size_bytes",
    ),
    Tampering(
        "the shipped model",
        lambda run_dir: (run_dir / "model/model.onnx").open("ab").write(b"x"),
        "model/model.onnx",
        "",
    ),
    Tampering(
        "the shipped settings",
        text_changed("model/session.json", "onnxruntime", "pytorch"),
        "model/session.json",
        "",
    ),
    Tampering(
        "the budget of the plan",
        text_changed("plan.json", r'"limit": ([\d.]+)', '"limit": 9.5'),
        "plan.json",
        "/budget/0/limit",
    ),
    Tampering("the hash of the plan", set_to("/plan_sha256", "0" * 64), _RUN, "/plan_sha256"),
    Tampering(
        "the budget wherever it stands", budget_everywhere, _RUN, "/decision/verdicts/0/line"
    ),
    Tampering(
        "a margin's proof",
        set_to("/plan/margins/0/provable", 1e-4),
        _RUN,
        "/plan/margins/0/provable",
    ),
    Tampering(
        "a line of candidates.jsonl",
        text_changed("candidates.jsonl", "int8_dynamic", "int8_static"),
        "candidates.jsonl",
        "line 2",
    ),
    Tampering(
        "a number in the prose",
        text_changed(_ADR, r"(\d+) candidates", "7 candidates"),
        _ADR,
        "line ",
    ),
    Tampering(
        "a cell of a table",
        text_changed(_ADR, r"^(\| `int8-dynamic`[^|]*\|\s*)\d", r"\g<1>9"),
        _ADR,
        "line ",
    ),
    Tampering(
        "a line of the prose",
        text_changed(_ADR, r"^## Considered options\n", ""),
        _ADR,
        "after line ",
    ),
    Tampering("a plot that is gone", removed("plots/tradeoff.svg"), "plots/tradeoff.svg", ""),
    Tampering("a report that is gone", removed(_ADR), _ADR, ""),
)

"""A run that was cut off goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlopt import api
from mlopt.errors import ConfigError, RunError
from mlopt.pipeline.checkpoint import Checkpoint
from mlopt.profiling.samples import Samples

pytestmark = pytest.mark.slow

PATIENCE_S = 120


def start_optimize(project: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mlopt", "optimize", str(project), "--out", str(out), "--json"]
    return subprocess.Popen(
        command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(pattern: str, out: Path, process: subprocess.Popen[str]) -> Path:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := list(out.glob(pattern)):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"{pattern} never came: {process.communicate()}")


@pytest.fixture
def slow_project(onnx_project: Callable[..., Path]) -> Path:
    return onnx_project(
        recipes=["fp32", "int8-dynamic"],
        measurement={"launches": 3, "rounds": 10, "block_ms": 30, "max_block": 5000},
    )


def test_a_run_that_was_killed_while_timing_keeps_its_launches_and_goes_on_just_once(
    slow_project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reports"
    process = start_optimize(slow_project, out)
    checkpoint = wait_for("*/samples/selection.checkpoint.npz", out, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = Checkpoint(checkpoint, "selection").load()
    assert before is not None
    run_dir = checkpoint.parents[1]
    assert json.loads((run_dir / "run.json").read_text())["status"] == "running"

    result = api.optimize(slow_project, resume=run_dir)

    with pytest.raises(RunError, match="nothing to resume"):
        api.optimize(slow_project, resume=run_dir)
    assert result.run_dir == run_dir
    assert result.run.status == "complete"
    evidence = result.run.candidate("fp32").selection
    assert evidence is not None
    assert evidence.measurements[0].launches == 3
    kept = Samples.read(run_dir, evidence.measurements[0].samples)
    samples = before.observed["fp32"].samples[1]
    assert 0 < len(samples) < len(kept)
    assert kept.ns[: len(samples)].tolist() == samples.ns.tolist()
    assert kept.blocks[: len(samples.blocks)].tolist() == samples.blocks.tolist()


def test_ctrl_c_while_timing_ends_with_130_and_a_report_marked_partial(
    slow_project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "reports"
    process = start_optimize(slow_project, out)
    run_dir = wait_for("*/samples/selection.checkpoint.npz", out, process).parents[1]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, errors
    assert json.loads(output)["status"] == "interrupted"
    run = json.loads((run_dir / "run.json").read_text())
    assert run["status"] == "interrupted"
    assert run["partial"]
    assert "partial" in (run_dir / "adr.md").read_text().lower()
    lines = (run_dir / "candidates.jsonl").read_text()

    result = api.optimize(slow_project, resume=run_dir)

    assert result.run.status == "complete"
    assert result.run.partial is None
    assert (run_dir / "candidates.jsonl").read_text() == lines
    assert not list(run_dir.glob("samples/*.checkpoint.npz"))
    for candidate in result.run.candidates:
        assert candidate.selection is not None
        seen = candidate.selection.measurements[0]
        if candidate.selection.left_because is None:
            assert (seen.launches, seen.rounds) == (3, 30)
        else:
            assert candidate.name != "fp32", "the baseline stays"


def test_a_run_is_not_resumed_on_other_data(slow_project: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports"
    process = start_optimize(slow_project, out)
    run_dir = wait_for("*/candidates.jsonl", out, process).parent
    process.send_signal(signal.SIGKILL)
    process.wait()
    (slow_project / "selection.npz").write_bytes((slow_project / "calibration.npz").read_bytes())
    (slow_project / "calibration.npz").unlink()
    text = (
        (slow_project / "mlopt.yaml")
        .read_text()
        .replace("  calibration:\n    npz: calibration.npz\n", "")
    )
    (slow_project / "mlopt.yaml").write_text(text)

    with pytest.raises(RunError, match="the data changed since it began"):
        api.optimize(slow_project, resume=run_dir)


def test_options_that_a_plan_has_fixed_are_refused_when_it_is_resumed(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="leave the other options out"):
        api.optimize(onnx_project(), resume=tmp_path, max_drop=0.5)

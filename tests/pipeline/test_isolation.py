"""A candidate that misbehaves costs that candidate only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from linear_project import QUICK

from mlopt import api
from mlopt.api import OptimizeResult

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("faulty_plugin")]

LIMITS = {"seconds": 15, "memory_mb": 800}
"""Long enough for a worker to start on a busy machine: only what hangs may run into it."""


def recipe(project: Path, name: str, fault: str) -> None:
    (project / "recipes").mkdir(exist_ok=True)
    steps = [{"pass": "export_onnx"}, {"pass": "faulty_pass", "fault": fault}]
    content = {"name": name, "summary": "breaks", "when": "never", "steps": steps}
    (project / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(content))


def causes(result: OptimizeResult) -> dict[str, tuple[str, str]]:
    return {
        c.name: (c.failure.during, c.failure.cause)
        for c in result.run.candidates
        if c.failure is not None
    }


def test_a_build_that_is_killed_hangs_hoards_or_raises_costs_that_candidate_only(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = onnx_project(
        limits=LIMITS,
        recipes=["fp32", "kills", "hangs", "hoards", "raises", "works"],
        measurement=QUICK,
    )
    for name, fault in {
        "kills": "kill", "hangs": "hang", "hoards": "hoard", "raises": "raise", "works": "none",
    }.items():  # fmt: skip
        recipe(project, name, fault)

    result = api.optimize(project, out=tmp_path / "reports")

    found = causes(result)
    assert found.keys() == {"kills", "hangs", "hoards", "raises"}
    assert found["kills"] == (
        "build",
        "the process was killed by SIGKILL (the kernel's out-of-memory killer, or somebody's kill)",
    )
    assert found["hangs"] == ("build", "ran longer than its limit of 15 s")
    assert found["hoards"][1].endswith("over its limit of 800 MB")
    assert found["raises"][1] == "RuntimeError: a kernel of this pass is broken"
    assert result.run.candidate("works").status == "measured"
    assert result.run.status == "complete"
    adr = (result.run_dir / "adr.md").read_text()
    assert all(cause in adr for _, cause in found.values())


def test_a_candidate_that_misbehaves_while_scored_or_timed_costs_that_candidate_only(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    faulty = [
        f"faulty_{fault}_{when}"
        for fault in ("kill", "hang", "hoard")
        for when in ("score", "time")
    ]
    project = onnx_project(limits=LIMITS, providers=["cpu", *faulty])

    result = api.optimize(project, out=tmp_path / "reports")

    found = causes(result)
    assert found.keys() == {f"fp32@{name}" for name in faulty}
    for name in faulty:
        _, fault, when = name.split("_")
        during, cause = found[f"fp32@{name}"]
        assert during == when
        assert {"kill": "SIGKILL", "hang": "limit of 15 s", "hoard": "800 MB"}[fault] in cause
    assert result.run.decision is not None
    assert result.run.decision.chosen == "fp32"
    assert result.exit_code == 0


def test_a_baseline_that_fails_ends_the_run_as_failed_with_its_cause(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = onnx_project(baseline={"recipe": "kills"})
    recipe(project, "kills", "kill")

    result = api.optimize(project, out=tmp_path / "reports")

    assert result.run.status == "failed"
    assert result.exit_code == 3
    assert result.run.decision is not None
    assert "SIGKILL" in result.run.decision.reason
    assert "SIGKILL" in (result.run_dir / "adr.md").read_text()

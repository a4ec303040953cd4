"""Whole runs of small projects of different kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from linear_project import QUICK, write_project

from mlopt import api
from mlopt.api import OptimizeResult
from mlopt.errors import ConfigError, DataError

pytestmark = pytest.mark.slow

METRIC = """
def cost(outputs, targets):
    wrong = outputs.argmax(axis=1) != targets
    return float(wrong.mean() * 3)
"""


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> OptimizeResult:
    """One run with two batch sizes, a recipe that has a list of options, and a metric of the user's."""
    place = tmp_path_factory.mktemp("varied")
    metric = {"name": "cost", "function": "mine:cost", "direction": "lower", "max_drop": 0.5}
    project = write_project(
        place / "project",
        metrics=[metric],
        task="classification",
        recipes=["fp32", "int8-dynamic", "choices"],
        batch_sizes=[1, 8],
        budget=["p50 <= 1 s", "p50 <= 0.1 us @ batch-8"],
        measurement={"launches": 4, "rounds": 4, "block_ms": 1},
    )
    (project / "mine.py").write_text(METRIC)
    (project / "recipes").mkdir()
    steps = [
        {"pass": "export_onnx"},
        {"pass": "int8_static", "calibration": ["minmax", "entropy"], "per_channel": False},
    ]
    content = {"name": "choices", "summary": "s", "when": "w", "steps": steps}
    (project / "recipes" / "choices.yaml").write_text(yaml.safe_dump(content))
    return api.optimize(project, out=place / "reports")


def test_several_batch_sizes_are_timed_and_judged_by_their_own_budget_lines(
    varied: OptimizeResult,
) -> None:
    evidence = varied.run.candidate("fp32").selection
    assert evidence is not None
    assert [m.workload.name for m in evidence.measurements] == ["batch-1", "batch-8"]
    assert varied.exit_code == 3
    assert varied.run.decision is not None
    assert len(varied.run.decision.rejected) == 4
    for rejection in varied.run.decision.rejected:
        assert "'p50 <= 0.0001 ms @ batch-8' is certainly not met" in rejection.reason
    assert "batch-8" in (varied.run_dir / "adr.md").read_text()


def test_a_list_of_options_becomes_a_candidate_each_and_shares_what_comes_before(
    varied: OptimizeResult,
) -> None:
    found = {c.name: c for c in varied.run.candidates if c.plan.recipe == "choices"}
    assert set(found) == {"choices[calibration=minmax]", "choices[calibration=entropy]"}
    assert all(c.status == "measured" for c in found.values())
    parameters = found["choices[calibration=entropy]"].lineage[-1].parameters
    assert (parameters["calibration"], parameters["per_channel"]) == ("entropy", False)


def test_a_metric_of_the_user_decides_with_its_own_direction(varied: OptimizeResult) -> None:
    quality = varied.run.candidate("int8-dynamic").selection.quality  # type: ignore[union-attr]
    assert quality is not None
    (found,) = quality.metrics
    assert (found.name, found.higher_is_better, found.max_drop) == ("cost", False, 0.5)
    assert quality.flip_rate is not None
    assert found.value == pytest.approx(found.baseline_value + found.delta.value)


def test_two_runs_at_once_share_the_cache_and_build_each_artifact_once(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    project = onnx_project(recipes=["fp32", "int8-static"], measurement=QUICK)
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(api.optimize, project, out=tmp_path / f"reports{i}", seed=7)
            for i in range(2)
        ]
        results = [run.result() for run in runs]

    hashes = {r.run.candidate("int8-static").artifact_sha256 for r in results}
    assert len(hashes) == 1
    assert {r.run.status for r in results} == {"complete"}
    assert sorted(r.run.candidate("int8-static").cached_steps for r in results) == [0, 1]


SLOW_METRIC = """
import time

def slow(outputs, targets):
    time.sleep(0.5)
    return float((outputs.argmax(axis=1) == targets).mean())
"""


def test_a_metric_that_takes_longer_than_the_time_limit_ends_the_run_undecided(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    metric = {"name": "slow", "function": "mine:slow", "direction": "higher", "max_drop": 0.5}
    project = onnx_project(metrics=[metric], recipes=["fp32", "int8-dynamic"], measurement=QUICK)
    (project / "mine.py").write_text(SLOW_METRIC)

    result = api.optimize(project, out=tmp_path / "reports", time_limit_s=15)

    assert result.exit_code == 4
    assert result.run.partial is not None
    assert "time limit" in result.run.partial
    assert all(c.failure is None for c in result.run.candidates)


def test_a_run_that_timed_nobody_leaves_nothing_that_its_verification_would_not_expect(
    onnx_project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = onnx_project(measurement=QUICK | {"max_seconds": 0.5})
    # As where the time is over before anything has loaded.
    monkeypatch.setattr("mlopt.profiling.launch.Launch.open", lambda *_: None)

    result = api.optimize(project, out=tmp_path / "reports")

    assert result.exit_code == 4
    assert "could not be measured" in (result.run.partial or "") + str(result.run.decision)
    assert not list(result.run_dir.glob("samples/*.checkpoint.npz"))
    assert api.verify(result.run_dir).mismatches == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('cost')", "raised KeyError: 'cost' (mine.py, line 2)"),
        ("return float('nan')", "returned nan on the targets of data.selection"),
        ("return 'much'", "raised ValueError"),
    ],
)
def test_a_metric_that_cannot_work_is_refused_before_anything_is_built(
    onnx_project: Callable[..., Path], tmp_path: Path, body: str, message: str
) -> None:
    metric = {"name": "cost", "function": "mine:cost", "direction": "lower"}
    project = onnx_project(metrics=[metric])
    (project / "mine.py").write_text(f"def cost(outputs, targets):\n    {body}\n")

    with pytest.raises(ConfigError) as error:
        api.optimize(project, out=tmp_path / "reports")

    assert message in str(error.value)
    assert not (tmp_path / "reports").exists()


def test_auroc_on_a_holdout_of_one_class_is_refused_before_anything_is_built(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = onnx_project(metrics=["auroc"])
    with np.load(project / "holdout.npz") as file:
        features = file["features"]
    np.savez(project / "holdout.npz", features=features, target=np.zeros(len(features), np.int64))

    with pytest.raises(DataError, match=r"data\.holdout holds one class only"):
        api.optimize(project, out=tmp_path / "reports")

    assert not (tmp_path / "reports").exists()


def test_an_input_that_gets_another_name_is_read_anew(
    onnx_project: Callable[..., Path], tmp_path: Path
) -> None:
    project = onnx_project(measurement=QUICK)
    api.plan(project)  # reads the data, and keeps what it has read
    model = onnx.load(project / "model.onnx")
    model.graph.input[0].name = model.graph.node[0].input[0] = "renamed"
    onnx.save(model, project / "model.onnx")
    for split in ("calibration", "selection", "holdout"):
        with np.load(project / f"{split}.npz") as file:
            arrays = dict(file)
        np.savez(project / f"{split}.npz", renamed=arrays["features"], target=arrays["target"])

    result = api.optimize(project, out=tmp_path / "reports")

    assert result.run.candidate("fp32").status == "measured"

"""A whole run of a regression: scikit-learn's diabetes table, relative margins, an error that rises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from mlopt import api
from mlopt.api import OptimizeResult
from mlopt.decision.judge import judge_margin
from mlopt.store.arrays import read_arrays
from mlopt.types.decision import Outcome
from mlopt.types.measurement import Evidence, MetricResult

pytestmark = pytest.mark.slow

MODEL = """
from torch import nn


def build(width=32):
    return nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 1))


def build_student():
    return build(8)
"""

SPLITS = {"training": slice(0, 200), "selection": slice(200, 292), "holdout": slice(292, 442)}
CALIBRATION = slice(0, 100)

PROJECT = {
    "name": "diabetes",
    "model": {"factory": "model:build", "weights": "weights.safetensors"},
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 10]}],
    "outputs": ["progression"],
    "data": {
        split: {"npz": f"{split}.npz"}
        for split in ("calibration", "training", "selection", "holdout")
    },
    "metrics": [
        {"name": "r2", "max_drop_relative": 0.1},
        {"name": "mae", "max_drop_relative": 0.1},
    ],
    "budget": ["size <= 1 MB"],
    "measurement": {"launches": 1, "rounds": 4, "block_ms": 1},
    "recipes": ["fp32", "int8-dynamic", "int8-static", "clipped"],
    "diagnose": False,
}

CLIPPED = {
    "name": "clipped",
    "summary": "cuts half of the activations off",
    "when": "never; it is worse by far more than any margin",
    "steps": [
        {"pass": "export_onnx"},
        {"pass": "int8_static", "calibration": "percentile", "percentile": 51},
    ],
}


def write_splits(project: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes the four files of data, and returns inputs and targets of the training split."""
    from sklearn.datasets import load_diabetes

    table = load_diabetes()
    order = np.random.default_rng(0).permutation(len(table.target))
    x = (table.data[order] * np.sqrt(len(order))).astype(np.float32)  # it ships with norm 1
    target = table.target[order].astype(np.float32)
    for split, rows in {**SPLITS, "calibration": CALIBRATION}.items():
        np.savez(project / f"{split}.npz", x=x[rows], target=target[rows])
    return x[SPLITS["training"]], target[SPLITS["training"]]


def train(project: Path, x: np.ndarray, target: np.ndarray) -> None:
    """Fits the network in standard units, and moves these into its last layer."""
    import torch
    from safetensors.torch import save_file
    from torch.nn import functional

    namespace: dict[str, object] = {}
    exec(MODEL, namespace)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = namespace["build"]()  # type: ignore[operator]
    mean, deviation = float(target.mean()), float(target.std())
    inputs, wanted = torch.from_numpy(x), torch.from_numpy((target - mean) / deviation)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        functional.mse_loss(model(inputs)[:, 0], wanted).backward()
        optimizer.step()
    weights = model.state_dict()
    weights["2.weight"] *= deviation
    weights["2.bias"] = weights["2.bias"] * deviation + mean
    save_file(weights, project / "weights.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> OptimizeResult:
    place = tmp_path_factory.mktemp("regression")
    project = place / "diabetes"
    (project / "recipes").mkdir(parents=True)
    (project / "model.py").write_text(MODEL)
    (project / "mlopt.yaml").write_text(yaml.safe_dump(PROJECT))
    (project / "recipes" / "clipped.yaml").write_text(yaml.safe_dump(CLIPPED))
    train(project, *write_splits(project))
    return api.optimize(project, out=place / "reports")


def selected(finished: OptimizeResult, name: str) -> Evidence:
    evidence = finished.run.candidate(name).selection
    assert evidence is not None
    assert evidence.quality is not None
    return evidence


def metrics(finished: OptimizeResult, name: str) -> tuple[MetricResult, ...]:
    quality = selected(finished, name).quality
    assert quality is not None
    return quality.metrics


def outcomes(finished: OptimizeResult, name: str) -> list[Outcome]:
    return [judge_margin(metric).outcome for metric in metrics(finished, name)]


def test_every_recipe_is_measured_and_the_budget_is_met(finished: OptimizeResult) -> None:
    assert {c.name: c.status for c in finished.run.candidates} == dict.fromkeys(
        ["pytorch", "fp32", "int8-dynamic", "int8-static", "clipped"], "measured"
    )
    assert finished.exit_code == 0


@pytest.mark.parametrize("name", ["fp32", "int8-dynamic", "int8-static", "clipped"])
def test_both_metrics_are_those_that_scikit_learn_finds_in_the_stored_answers(
    finished: OptimizeResult, name: str
) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score

    quality = selected(finished, name).quality
    assert quality is not None
    assert quality.predictions is not None
    answers = read_arrays(finished.run_dir, quality.predictions)["predictions"][:, 0]
    with np.load(finished.run_dir / "samples" / "selection" / "targets.npz") as file:
        targets = file["targets"]

    r2, mae = quality.metrics

    assert r2.value == pytest.approx(r2_score(targets, answers), abs=1e-6)
    assert mae.value == pytest.approx(mean_absolute_error(targets, answers), rel=1e-6)
    assert quality.flip_rate is None
    assert (r2.gained, mae.gained) == (None, None)


def test_a_relative_margin_is_a_share_of_what_the_baseline_scores(finished: OptimizeResult) -> None:
    r2, mae = metrics(finished, "int8-static")

    assert (r2.higher_is_better, mae.higher_is_better) == (True, False)
    assert 0.2 < r2.baseline_value < 0.6, "the network has learnt"
    assert r2.max_drop == pytest.approx(0.1 * r2.baseline_value)
    assert mae.max_drop == pytest.approx(0.1 * mae.baseline_value)
    adr = (finished.run_dir / "adr.md").read_text()
    assert "`r2` may drop by at most 10% of the baseline's value, that is " in adr
    assert "`mae` may rise by at most 10% of the baseline's value, that is " in adr


def test_int8_stays_within_both_margins(finished: OptimizeResult) -> None:
    for name in ("int8-dynamic", "int8-static"):
        assert outcomes(finished, name) == ["PASS", "PASS"]
        r2, _ = metrics(finished, name)
        assert r2.value != r2.baseline_value


def test_a_rise_of_the_error_is_a_loss_and_keeps_the_candidate_from_being_shipped(
    finished: OptimizeResult,
) -> None:
    r2, mae = metrics(finished, "clipped")

    assert r2.delta.value < 0 < mae.delta.value
    assert outcomes(finished, "clipped") == ["FAIL", "FAIL"]
    assert finished.run.decision is not None
    reasons = {r.name: r.reason for r in finished.run.decision.rejected}
    assert "r2" in reasons["clipped"]
    assert "(lower is better)" in (finished.run_dir / "adr.md").read_text()


def test_the_confirmation_judges_both_margins_on_the_holdout(finished: OptimizeResult) -> None:
    decision = finished.run.decision
    assert decision is not None
    chosen = finished.run.candidate(str(decision.chosen))
    assert chosen.confirmation is not None
    assert chosen.confirmation.quality is not None
    assert chosen.confirmation.quality.split == "holdout"
    assert [m.examples for m in chosen.confirmation.quality.metrics] == [150, 150]
    judged = {v.line.split(" by less than ")[0]: v.outcome for v in decision.verdicts}
    assert judged.keys() == {"size <= 1 MB", "r2 drops", "mae rises"}
    assert set(judged.values()) == {"PASS"}

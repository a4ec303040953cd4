"""A whole run of an LSTM that reads digits row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import yaml

from mlopt import api
from mlopt.api import OptimizeResult
from mlopt.store.arrays import read_arrays

pytestmark = pytest.mark.slow

MODEL = """
from torch import nn


class RowReader(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.rows = nn.LSTM(8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, rows):
        states, _ = self.rows(rows)
        return self.head(states[:, -1])


def build(hidden=48):
    return RowReader(hidden)


def build_student():
    return RowReader(16)
"""

SPLITS = {
    "calibration": slice(0, 64),  # part of training
    "training": slice(0, 600),
    "selection": slice(600, 900),
    "holdout": slice(900, 1797),
}

PROJECT = {
    "name": "rows",
    "model": {"factory": "model:build", "weights": "weights.safetensors"},
    "inputs": [{"name": "rows", "dtype": "float32", "shape": ["batch", 8, 8]}],
    "outputs": ["logits"],
    "data": {split: {"npz": f"{split}.npz"} for split in SPLITS},
    "metrics": [{"name": "accuracy", "max_drop": 0.05}],
    "measurement": {"launches": 1, "rounds": 4, "block_ms": 1},
    "recipes": ["fp32", "int8-dynamic", "int8-static", "distill"],
    "diagnose": False,
    "student": {"factory": "model:build_student"},
}


SMALLER = {
    "name": "distill",
    "summary": "the built-in one, with what takes less time",
    "when": "in this test",
    "steps": [
        {"pass": "distill", "epochs": 8, "batch_size": 25, "learning_rate": 0.01},
        {"pass": "export_onnx", "exporter": "torchscript"},
    ],
}


def train(project: Path, rows: np.ndarray, target: np.ndarray) -> None:
    import torch
    from safetensors.torch import save_file
    from torch.nn import functional

    namespace: dict[str, Any] = {}
    exec(MODEL, namespace)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = namespace["build"]()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(12):
            for batch in torch.randperm(len(target)).split(50):
                optimizer.zero_grad()
                logits = model(torch.from_numpy(rows)[batch])
                functional.cross_entropy(logits, torch.from_numpy(target)[batch]).backward()
                optimizer.step()
    save_file(model.state_dict(), project / "weights.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> OptimizeResult:
    from sklearn.datasets import load_digits

    place = tmp_path_factory.mktemp("recurrent")
    project = place / "rows"
    project.mkdir()
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    rows, target = (digits.images[order] / 16).astype(np.float32), digits.target[order]
    for split, part in SPLITS.items():
        np.savez(project / f"{split}.npz", rows=rows[part], target=target[part])
    (project / "model.py").write_text(MODEL)
    (project / "mlopt.yaml").write_text(yaml.safe_dump(PROJECT))
    (project / "recipes").mkdir()
    (project / "recipes" / "distill.yaml").write_text(yaml.safe_dump(SMALLER))
    train(project, rows[SPLITS["training"]], target[SPLITS["training"]])
    return api.optimize(project, out=place / "reports")


def facts(finished: OptimizeResult, name: str) -> dict[str, Any]:
    return finished.run.candidate(name).lineage[-1].facts


def predictions(finished: OptimizeResult, name: str) -> np.ndarray:
    evidence = finished.run.candidate(name).selection
    assert evidence is not None
    assert evidence.quality is not None
    assert evidence.quality.predictions is not None
    return read_arrays(finished.run_dir, evidence.quality.predictions)["predictions"]


def accuracy(finished: OptimizeResult, name: str) -> float:
    with np.load(finished.run_dir / "samples" / "selection" / "targets.npz") as file:
        targets = file["targets"]
    return float((predictions(finished, name).argmax(axis=1) == targets).mean())


def test_every_recipe_is_measured_and_may_ship(finished: OptimizeResult) -> None:
    assert {c.name: c.status for c in finished.run.candidates} == dict.fromkeys(
        ["pytorch", "fp32", "distill", "int8-dynamic", "int8-static"], "measured"
    )
    assert finished.exit_code == 0


def test_the_exported_network_answers_as_pytorch_does_and_int8_close_to_it(
    finished: OptimizeResult,
) -> None:
    wanted = predictions(finished, "pytorch")

    assert accuracy(finished, "pytorch") > 0.9, "the network has learnt to read"
    assert np.abs(predictions(finished, "fp32") - wanted).max() < 1e-4 * np.abs(wanted).max()
    for name in ("int8-dynamic", "int8-static"):
        found = predictions(finished, name)
        assert 0 < np.abs(found - wanted).mean() < 0.1 * np.abs(wanted).mean()
        assert accuracy(finished, name) > 0.9


def test_a_smaller_network_learns_from_the_whole_one(finished: OptimizeResult) -> None:
    source, distilled, _ = finished.run.candidate("distill").lineage

    assert distilled.facts["parameters"] < source.facts["parameters"] / 4
    assert accuracy(finished, "distill") > 0.5, "chance is 0.1"


def test_dynamic_int8_quantizes_the_recurrent_layer(finished: OptimizeResult) -> None:
    found = facts(finished, "int8-dynamic")

    assert found["quantized"] == {"DynamicQuantizeLSTM": 1, "MatMulInteger": 1}
    assert "left_in_float" not in found
    assert found["share_of_weights_in_8_bits"] > 0.9


def test_the_report_says_that_static_int8_leaves_the_recurrent_layer_in_float(
    finished: OptimizeResult,
) -> None:
    found = facts(finished, "int8-static")

    assert found["quantized"] == {"Gemm": 1}
    assert found["left_in_float"] == {"LSTM": 1}
    assert found["share_of_weights_in_8_bits"] < 0.1
    adr = (finished.run_dir / "adr.md").read_text()
    assert "quantized Gemm 1; left in float LSTM 1; share of weights in 8 bits 0.0" in adr


def test_the_shipped_network_takes_any_number_of_examples(finished: OptimizeResult) -> None:
    path = finished.run_dir / "model" / "model.onnx"
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(0).random((9, 8, 8), dtype=np.float32)

    together = session.run(None, {"rows": rows})[0]
    (first,) = session.run(None, {"rows": rows[:1]})

    assert together.shape == (9, 10)
    assert first == pytest.approx(together[:1], abs=0.05)

"""Runs whose recipes train: each step is measured, and a training that was killed goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

from mlopt import api
from mlopt.types.events import Event
from mlopt.types.run import Run

pytestmark = pytest.mark.slow

PATIENCE_S = 120
EPOCHS = 8

MODEL = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10)
    )

def build_student():
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
"""

DATA = """
import time
import torch

def augment(inputs):
    time.sleep(0.02)  # so that somebody can kill the training in the middle
    return {name: x + 0.05 * torch.randn_like(x) for name, x in inputs.items()}
"""

TRAIN = """
import numpy as np, torch
from safetensors.torch import save_file
from model import build

torch.manual_seed(0)
with np.load("training.npz") as file:
    x, y = torch.from_numpy(file["pixels"]), torch.from_numpy(file["target"])
model = build()
optimizer = torch.optim.AdamW(model.parameters(), 0.01)
for _ in range(30):
    for rows in torch.randperm(len(x)).split(64):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
save_file(model.state_dict(), "weights.safetensors")
"""

EXPORT = {"pass": "export_onnx", "exporter": "torchscript"}  # the faster one

BASELINE = {"name": "fp32", "summary": "exported", "when": "in this test", "steps": [EXPORT]}

RECIPE = {
    "name": "smaller",
    "summary": "pruned and taught",
    "when": "in this test",
    "steps": [
        {"pass": "prune_channels", "remove": 0.5, "round_to": 4},
        {"pass": "distill", "epochs": EPOCHS, "patience": None},
        EXPORT,
    ],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network that reads digits, with a recipe that prunes and distills it."""
    directory = tmp_path_factory.mktemp("training") / "project"
    (directory / "recipes").mkdir(parents=True)
    digits = load_digits()
    pixels = (digits.data / 16).astype(np.float32)
    for split, rows in {
        "training": slice(0, 900),
        "selection": slice(900, 1200),
        "holdout": slice(1200, None),
    }.items():
        np.savez(directory / f"{split}.npz", pixels=pixels[rows], target=digits.target[rows])
    files = {"model.py": MODEL, "data.py": DATA, "train.py": TRAIN}
    for recipe in (BASELINE, RECIPE):
        files[f"recipes/{recipe['name']}.yaml"] = yaml.safe_dump(recipe)
    files["mlopt.yaml"] = yaml.safe_dump(
        {
            "name": "digits",
            "model": {"factory": "model:build", "weights": "weights.safetensors"},
            "student": {"factory": "model:build_student"},
            "augment": "data:augment",
            "inputs": [{"name": "pixels", "dtype": "float32", "shape": ["batch", 64]}],
            "data": {s: {"npz": f"{s}.npz"} for s in ("training", "selection", "holdout")},
            "metrics": [{"name": "accuracy", "max_drop": 0.2}],
            "recipes": ["smaller"],
            "diagnose": False,
            "measurement": {"launches": 1, "rounds": 3, "block_ms": 1},
        }
    )
    for name, text in files.items():
        (directory / name).write_text(text)
    subprocess.run([sys.executable, "train.py"], cwd=directory, check=True)
    return directory


class Whole(NamedTuple):
    """A run that nobody interrupted."""

    run: Run
    run_dir: Path
    cache: Path
    events: list[Event]


@pytest.fixture(scope="module")
def whole(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPT_CACHE_DIR", str(place / "cache"))
        events: list[Event] = []
        result = api.optimize(project, out=place / "reports", on_event=events.append)
        yield Whole(result.run, result.run_dir, place / "cache", events)


def test_every_step_of_the_recipe_is_measured_beside_its_result(whole: Whole):
    steps = {c.name: [s.transformation for s in c.plan.steps] for c in whole.run.candidates}
    assert steps == {
        "pytorch": [],
        "fp32": ["export_onnx"],
        "smaller:prune_channels": ["prune_channels", "export_onnx"],
        "smaller": ["prune_channels", "distill", "export_onnx"],
    }
    assert [c.name for c in whole.run.candidates if c.selection is None] == []


def test_what_two_candidates_have_in_common_is_built_once(whole: Whole):
    cached = {c.name: c.cached_steps for c in whole.run.candidates}
    assert cached == {
        "pytorch": 0,
        "fp32": 0,
        "smaller:prune_channels": 0,
        "smaller": 1,
    }


def test_a_distilled_model_says_how_it_was_trained_and_what_it_costs(whole: Whole):
    source, pruned, distilled, _ = whole.run.candidate("smaller").lineage
    assert pruned.facts["macs"] <= 0.6 * source.facts["macs"]
    assert pruned.facts["parameters"] < source.facts["parameters"]
    assert distilled.facts["macs"] == pruned.facts["macs"]
    training = distilled.facts["training"]
    assert [epoch["epoch"] for epoch in training["epochs"]] == list(range(1, EPOCHS + 1))
    assert training["examples"] + training["validation_examples"] == 900


def test_learning_from_the_teacher_wins_accuracy_back(whole: Whole):
    accuracy = {
        c.name: c.selection.quality.metrics[0].value
        for c in whole.run.candidates
        if c.selection is not None and c.selection.quality is not None
    }
    assert accuracy["smaller"] > accuracy["smaller:prune_channels"]


def test_progress_tells_loss_score_and_time_left(whole: Whole):
    said = [e.message for e in whole.events if ": distill: epoch" in e.message]
    assert any("loss" in m and "accuracy" in m and "left" in m for m in said)


def test_nothing_is_left_of_a_training_that_ended(whole: Whole):
    assert list(whole.cache.glob("checkpoints/*/*")) == []


def test_a_killed_training_goes_on_and_ends_in_the_same_bits(
    whole: Whole, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache, out = tmp_path / "cache", tmp_path / "reports"
    monkeypatch.setenv("MLOPT_CACHE_DIR", str(cache))
    command = [sys.executable, "-m", "mlopt", "optimize", str(project), "--out", str(out)]
    process = subprocess.Popen(
        command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for_epoch(cache, 2, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (run_dir,) = out.iterdir()
    assert json.loads((run_dir / "run.json").read_text())["status"] == "running"
    assert _weights(cache).keys() < _weights(whole.cache).keys()

    events: list[Event] = []
    result = api.optimize(project, resume=run_dir, on_event=events.append)

    epochs = [m for e in events if ": distill: epoch " in (m := e.message)]
    assert epochs
    assert not any(": distill: epoch 1 of" in message for message in epochs)
    assert result.run.status == "complete"
    assert _weights(cache) == _weights(whole.cache)


def _wait_for_epoch(cache: Path, epoch: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until a checkpoint says that an epoch is over."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        for file in cache.glob("checkpoints/*/*/*.safetensors"):
            if f'\\"epoch\\": {epoch},' in file.read_bytes().decode("latin-1"):
                return
        time.sleep(0.01)
    raise AssertionError("the training ended, or never came so far")


def _weights(cache: Path) -> dict[str, bytes]:
    """The weights of every torch artifact, by its place in the cache, which is its key."""
    return {
        file.parent.name: file.read_bytes()
        for file in cache.glob("artifacts/*/*/weights.safetensors")
    }

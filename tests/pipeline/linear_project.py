"""A small project around an ONNX file: it needs no torch, and a run of it takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

FEATURES, CLASSES = 8, 3


def write_onnx(path: Path, seed: int = 0) -> None:
    """A linear classifier that answers right on the data of :func:`write_split`."""
    weights = np.random.default_rng(seed).normal(size=(FEATURES, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["features", "weights"], ["logits"], name="product")],
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)


def write_split(path: Path, seed: int, examples: int) -> None:
    weights = np.random.default_rng(0).normal(size=(FEATURES, CLASSES)).astype(np.float32)
    features = np.random.default_rng(seed).normal(size=(examples, FEATURES)).astype(np.float32)
    np.savez(path, features=features, target=(features @ weights).argmax(axis=1))


QUICK = {"launches": 1, "rounds": 2, "block_ms": 1}
"""The shortest schedule, for runs of which nobody reads a latency."""


def write_project(directory: Path, **overrides: object) -> Path:
    """Writes a project around an ONNX file; keyword arguments replace keys of mlopt.yaml."""
    directory.mkdir(exist_ok=True)
    write_onnx(directory / "model.onnx")
    for seed, split in enumerate(("calibration", "selection", "holdout"), start=1):
        write_split(directory / f"{split}.npz", seed, 120)
    content = {
        "name": "linear",
        "model": {"onnx": "model.onnx"},
        "data": {s: {"npz": f"{s}.npz"} for s in ("calibration", "selection", "holdout")},
        "metrics": [{"name": "accuracy", "max_drop": 0.2}],
        "measurement": {"launches": 2, "rounds": 4, "block_ms": 1},
        "recipes": ["fp32"],
        "diagnose": False,
    }
    (directory / "mlopt.yaml").write_text(yaml.safe_dump(content | overrides))
    return directory

"""A whole run in which one layer must stay in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from linear_project import FEATURES, QUICK, write_project
from onnx import TensorProto, helper, numpy_helper

from mlopt import api
from mlopt.pipeline import proposing
from mlopt.types.run import Run

pytestmark = pytest.mark.slow

WIDTH, CLASSES, EXAMPLES = 16, 3, 400
RECIPE = {
    "name": "int8-mixed",
    "summary": "INT8, and float where that is needed",
    "when": "In tests.",
    "mixed_precision": True,
    "steps": [{"pass": "int8_static"}],
}


def weights() -> dict[str, np.ndarray[Any, Any]]:
    """Of three products. Those of the second are too wide for 8 bits.

    What is wide there meets a feature that is never there, so that it changes no answer, only the
    scale.
    """
    rng = np.random.default_rng(0)
    found = {
        "w0": rng.normal(size=(FEATURES, WIDTH)),
        "b0": np.array([-100.0] + [0.2] * (WIDTH - 1)),
        "w1": rng.normal(size=(WIDTH, WIDTH)),
        "w2": rng.normal(size=(WIDTH, CLASSES)),
    }
    found["w1"][0] = 400
    return {name: array.astype(np.float32) for name, array in found.items()}


def answers(features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    w = weights()
    hidden = np.maximum(features @ w["w0"] + w["b0"], 0)
    return np.maximum(hidden @ w["w1"], 0) @ w["w2"]


def project(directory: Path) -> Path:
    write_project(
        directory,
        recipes=["int8-mixed"],
        metrics=[{"name": "accuracy", "max_drop": 0.06}],
        measurement=QUICK,
    )
    for seed, split in enumerate(("calibration", "selection", "holdout")):
        features = np.random.default_rng(seed).normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
        np.savez(
            directory / f"{split}.npz", features=features, target=answers(features).argmax(axis=1)
        )
    nodes = [
        helper.make_node("MatMul", ["features", "w0"], ["a"]),
        helper.make_node("Add", ["a", "b0"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "w1"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "w2"], ["logits"]),
    ]
    sizes = {"features": FEATURES, "logits": CLASSES}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in sizes.items()
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights().items()]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], tensors)
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.save(model, str(directory / "model.onnx"))
    (directory / "recipes").mkdir()
    (directory / "recipes" / "int8-mixed.yaml").write_text(yaml.safe_dump(RECIPE))
    return directory


def test_the_layer_that_hurts_stays_in_float_and_the_rest_is_kept_in_8_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ratio(run: Run, name: str) -> float:
        """So small a model is as fast in float; a walk starts from what is faster."""
        return 1.0 if name == "fp32" else 0.5

    monkeypatch.setattr(proposing, "p50_ratio", ratio)
    result = api.optimize(project(tmp_path / "project"), out=tmp_path / "reports")

    run = result.run
    assert [c.name for c in run.candidates] == ["fp32", "int8-mixed", "int8-mixed[float=1]"]
    whole, mixed = run.candidates[1:]
    assert whole.selection is not None
    assert whole.selection.quality is not None
    assert whole.selection.quality.metrics[0].delta.value < -0.06
    assert mixed.selection is not None
    assert mixed.selection.quality is not None
    delta = mixed.selection.quality.metrics[0].delta
    assert delta.low is not None
    assert delta.low > -0.06
    assert mixed.selection.measurements
    facts = mixed.lineage[-1].facts
    assert sum(facts["quantized"].values()) == 2
    assert facts["left_in_float"] == {"MatMul": 1}
    assert any("with 1 of 3 layers in float" in warning for warning in run.warnings)
    assert "### Mixed precision" in (result.run_dir / "adr.md").read_text("utf-8")
    assert (result.run_dir / "plots" / "mixed-precision.svg").is_file()
    assert api.verify(result.run_dir).mismatches == ()

"""Ranking the layers of a quantized candidate: by their noise, and the worst by what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlopt.errors import BuildError
from mlopt.pipeline.seal import seal
from mlopt.pipeline.tasks import rank as task
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.artifact import LineageStep
from mlopt.types.passes import Draft
from mlopt.types.tensors import TensorSpec

RNG = np.random.default_rng(0)
WEIGHTS = {f"w{i}": RNG.normal(0, 0.3, (16, 16)).astype(np.float32) for i in range(3)}
ROWS = RNG.normal(size=(40, 16)).astype(np.float32)
TRAINING = {"task": "classification", "metric": "accuracy", "higher_is_better": True}


def chain(path: Path, batch: int | str, *, coarse: str = "", step: float = 0.0) -> Path:
    """Three matrix products; one of them may have its weights rounded to multiples of ``step``."""
    nodes = []
    tensors = [numpy_helper.from_array(w, name) for name, w in WEIGHTS.items() if name != coarse]
    for i, name in enumerate(WEIGHTS):
        weight = name
        if name == coarse:
            weight = f"{name}-dq"
            rounded = np.rint(WEIGHTS[name] / step).astype(np.int8)
            scale = numpy_helper.from_array(np.float32(step), "scale")
            tensors += [numpy_helper.from_array(rounded, f"{name}-q"), scale]
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}-q", "scale"], [weight]))
        source, target = ("x" if i == 0 else f"r{i - 1}"), ("y" if i == 2 else f"p{i}")
        nodes.append(helper.make_node("MatMul", [source, weight], [target], name=f"product{i}"))
        if i < 2:
            nodes.append(helper.make_node("Relu", [target], [f"r{i}"], name=f"relu{i}"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 16]) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], tensors)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))
    return path


def artifact(directory: Path, batch: int | str = "batch", **changes: Any) -> str:
    directory.mkdir()
    chain(directory / "model.onnx", batch, **changes)
    specs = [TensorSpec(name=n, dtype="float32", shape=(batch, 16)) for n in ("x", "y")]
    draft = Draft(main="model.onnx", inputs=(specs[0],), outputs=(specs[1],))
    seal(directory, draft, "onnx", (LineageStep(transformation="source"),), directory.name)
    return str(directory)


def answers() -> np.ndarray[Any, Any]:
    hidden = ROWS
    for name in ("w0", "w1"):
        hidden = np.maximum(hidden @ WEIGHTS[name], 0)
    return hidden @ WEIGHTS["w2"]


def ranked(tmp_path: Path, quantized: str, **changes: Any) -> list[dict[str, Any]]:
    arguments = {"targets": answers().argmax(axis=1), "checked": 3, "batch": "batch"} | changes
    with SnapshotWriter(tmp_path / "calibration") as writer:
        writer.append({"x": ROWS}, arguments.pop("targets"))
        writer.finish()
    (tmp_path / "scratch").mkdir()
    answer = task.rank(
        source=artifact(tmp_path / "source", arguments.pop("batch")),
        quantized=quantized,
        scratch=str(tmp_path / "scratch"),
        project_dir=str(tmp_path),
        snapshot=str(tmp_path / "calibration"),
        training=TRAINING,
        examples=arguments.pop("examples", 64),
        **arguments,
    )
    found: list[dict[str, Any]] = answer["layers"]
    return found


def test_a_coarse_layer_is_found_with_what_it_costs_of_the_metric(tmp_path: Path) -> None:
    (layer,) = ranked(tmp_path, artifact(tmp_path / "q", coarse="w1", step=0.5))
    assert layer["nodes"] == ["product1"]
    rounded = WEIGHTS | {"w1": np.rint(WEIGHTS["w1"] / 0.5) * 0.5}
    hidden = np.maximum(np.maximum(ROWS @ WEIGHTS["w0"], 0) @ rounded["w1"], 0)
    now = hidden @ WEIGHTS["w2"]
    accuracy = (now.argmax(axis=1) == answers().argmax(axis=1)).mean()
    assert layer["loss"] == pytest.approx(1 - accuracy)
    noise, signal = np.square(now - answers()).sum(), np.square(answers()).sum()
    assert layer["arriving_db"] == pytest.approx(10 * np.log10(signal / noise), abs=1e-3)


def test_without_targets_the_noise_that_arrives_ranks(tmp_path: Path) -> None:
    quantized = artifact(tmp_path / "q", coarse="w1", step=0.5)
    (layer,) = ranked(tmp_path, quantized, targets=None)
    assert layer["loss"] is None
    assert layer["arriving_db"] < 20


def test_nothing_is_looked_at_alone_where_none_is_asked_for(tmp_path: Path) -> None:
    quantized = artifact(tmp_path / "q", coarse="w2", step=0.01)
    (layer,) = ranked(tmp_path, quantized, checked=0)
    assert layer["nodes"] == ["product2"]
    assert layer["loss"] is layer["arriving_db"] is None
    assert 25 < layer["sqnr_db"] < 60


def test_a_fixed_batch_takes_whole_batches_only(tmp_path: Path) -> None:
    quantized = artifact(tmp_path / "q", 16, coarse="w2", step=0.01)
    (layer,) = ranked(tmp_path, quantized, batch=16)
    assert layer["arriving_db"] is not None


def test_a_batch_larger_than_what_there_is_is_refused(tmp_path: Path) -> None:
    quantized = artifact(tmp_path / "q", 64, coarse="w2", step=0.01)
    with pytest.raises(BuildError, match="fewer examples"):
        ranked(tmp_path, quantized, batch=64)


def layer(name: str, loss: float | None, arriving_db: float) -> task.Layer:
    return task.Layer(
        nodes=(name,), operator="Conv", sqnr_db=9.0, arriving_db=arriving_db, loss=loss
    )


def test_a_loss_counts_in_whole_percent_and_the_noise_that_arrives_below_that() -> None:
    found = [
        layer("chance", 0.004, 30.0),
        layer("noisy", 0.0, 12.0),
        layer("gain", -0.05, 25.0),
        layer("costly", 0.08, 35.0),
        layer("unknown", None, 20.0),
    ]
    order = [one.nodes[0] for one in sorted(found, key=task._harm)]
    assert order == ["costly", "noisy", "unknown", "gain", "chance"]

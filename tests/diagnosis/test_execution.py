"""The model as it runs: names, medians, and costs by node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_graphs import Tiny

from mlopt.diagnosis.costs import node_costs, operator_costs
from mlopt.diagnosis.execution import MOST, execute, repeated, with_names
from mlopt.errors import ModelError
from mlopt.providers import resolve_provider
from mlopt.runners.onnxruntime import OnnxRuntimeRunner
from mlopt.types.artifact import Artifact, Manifest

IMAGE = (1, 4, 8, 8)


def artifact(model: onnx.ModelProto, directory: Path) -> Artifact:
    onnx.save(model, directory / "model.onnx")
    manifest = Manifest(
        format="onnx", main="model.onnx", files={}, inputs=(), outputs=(), lineage=(), key=""
    )
    return Artifact(directory=directory, manifest=manifest)


def quantized(t: Tiny) -> onnx.ModelProto:
    y = t.node("Conv", t.pair(t.input("x", IMAGE)), t.weight(6, 4, 3, 3), pads=[1, 1, 1, 1])
    return t.model(t.pair(y))


def test_every_node_that_ran_has_a_time_and_its_arithmetic(tmp_path: Path) -> None:
    inputs = [{"x": np.zeros(IMAGE, np.float32)}]
    ran = execute(
        artifact(quantized(Tiny()), tmp_path),
        OnnxRuntimeRunner(intra_op_threads=1),
        resolve_provider("cpu"),
        inputs,
        tmp_path,
    )
    costs = node_costs(ran.trace, ran.graph)
    nodes = {one.operator: one for one in costs}

    assert set(nodes) >= {"QuantizeLinear", "QLinearConv", "DequantizeLinear"}
    conv = nodes["QLinearConv"]
    assert (conv.macs, conv.arithmetic) == (6 * 64 * 4 * 9, "int8")
    assert conv.weight_bytes >= 6 * 4 * 9
    assert conv.bytes_moved == conv.weight_bytes + 4 * 64 + 6 * 64
    assert ran.runs == len(ran.trace.run_ms) <= MOST
    assert {one.provider for one in ran.assigned} == {"CPUExecutionProvider"}
    assert sum(one.nodes for one in operator_costs(costs)) == len(costs)


def test_a_model_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx cannot be run on cpu: .*Invalid") as caught:
        execute(
            artifact(quantized(Tiny()), tmp_path),
            OnnxRuntimeRunner(),
            resolve_provider("cpu"),
            [{"x": np.zeros((1, 1), np.float32)}],
            tmp_path,
        )
    assert "\n" not in str(caught.value)


def test_nodes_without_a_name_get_one_in_a_copy(tmp_path: Path) -> None:
    t = Tiny()
    weight = t.constant(np.ones((8, 8), np.float32))
    model = t.model(t.node("MatMul", t.input("x", IMAGE), weight))
    model.graph.node[0].name = ""
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)

    copy = with_names(path, tmp_path)

    assert copy != path
    found = onnx.load(copy)
    assert found.graph.node[0].name
    assert numpy_helper.to_array(found.graph.initializer[0]).sum() == 64
    assert with_names(copy, tmp_path) == copy


def test_short_calls_are_repeated_often_and_long_ones_a_few_times() -> None:
    calls: list[int] = []

    assert len(repeated([lambda: calls.append(1), lambda: calls.append(2)], 1.0)) == MOST
    assert calls[:4] == [1, 2, 1, 2]
    assert len(repeated([lambda: None], 0.0)) == 5

"""16-bit floats: what is converted, what is left, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from pass_bench import Bench

from mlopt.errors import BuildError
from mlopt.passes.fp16 import Fp16
from mlopt.pipeline.seal import seal
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import Brought, Draft
from mlopt.types.tensors import TensorSpec

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
NORMALIZED = (
    helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
    helper.make_node("Mul", ["h", "two"], ["m"], name="double"),
    helper.make_node("Pow", ["m", "two"], ["p"], name="square"),
    helper.make_node("ReduceMean", ["p"], ["r"], name="mean", keepdims=1),
    helper.make_node("Sub", ["m", "r"], ["y"], name="center"),
)


def model_of(
    bench: Bench,
    nodes: Sequence[onnx.NodeProto] = NORMALIZED,
    weights: Mapping[str, np.ndarray[Any, Any] | np.generic] | None = None,
) -> Artifact:
    """An artifact of a graph from ``x`` (batch, 4) to ``y``."""
    weights = {"w": W, "two": np.float32(2)} if weights is None else weights
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    directory = bench.new_directory()
    onnx.save(model, directory / "model.onnx")
    draft = Draft(
        main="model.onnx",
        inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 4)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 4)),),
    )
    seal(directory, draft, "onnx", (LineageStep(transformation="source"),), "")
    bench.teacher = Artifact.open(directory)
    return bench.teacher


def answer(artifact: Artifact) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(artifact.main_file, providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {"x": X})[0]
    return found


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def dtypes(artifact: Artifact) -> dict[str, int]:
    graph = onnx.load(artifact.main_file).graph
    return {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_weights_are_halved_and_inputs_and_outputs_stay_as_they_were(bench: Bench) -> None:
    source = model_of(bench)
    halved = bench.apply("fp16", source)

    session = ort.InferenceSession(halved.main_file, providers=["CPUExecutionProvider"])
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.type, taken.type) == ("tensor(float)", "tensor(float)")
    assert dtypes(halved)["w"] == TensorProto.FLOAT16
    difference = np.abs(answer(halved) - answer(source)).max()
    assert 0 < difference < 0.02 * np.abs(answer(source)).max()


def test_operators_that_overflow_stay_in_32_bits_and_the_facts_say_so(bench: Bench) -> None:
    source = model_of(bench)
    assert facts(bench.apply("fp16", source))["left_in_32_bits"] == {"Pow": 1, "ReduceMean": 1}
    everything = facts(bench.apply("fp16", source, float_operators=()))
    assert "left_in_32_bits" not in everything
    assert everything["nodes_in_16_bits"] == len(NORMALIZED)


def test_a_node_that_is_excluded_stays_in_32_bits(bench: Bench) -> None:
    halved = bench.apply("fp16", model_of(bench), exclude=("product",))
    assert facts(halved)["left_in_32_bits"]["MatMul"] == 1
    assert dtypes(halved)["w"] == TensorProto.FLOAT


def test_weights_beyond_the_range_of_16_bits_are_counted(bench: Bench) -> None:
    large = W.copy()
    large[0, :3] = 1e6, -1e6, np.inf
    halved = bench.apply("fp16", model_of(bench, weights={"w": large, "two": np.float32(2)}))
    assert facts(halved)["weights_cut_to_the_range"] == 2
    assert "weights_cut_to_the_range" not in facts(bench.apply("fp16", model_of(bench)))


def test_a_large_model_keeps_its_weights_in_a_file_of_their_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.ones((4, 400), np.float32)
    product = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    source = model_of(bench, [product], {"w": wide})
    monkeypatch.setattr("mlopt.passes.fp16.EXTERNAL_DATA_FROM_BYTES", 0)
    halved = bench.apply("fp16", source)
    assert {Path(name).suffix for name in halved.manifest.files} == {".onnx", ".data"}
    np.testing.assert_allclose(answer(halved), answer(source), atol=0.01)


def test_a_quantized_model_is_refused(bench: Bench) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    source = model_of(bench, nodes, {"s": np.float32(0.1), "z": np.uint8(128)})
    with pytest.raises(BuildError, match="has DequantizeLinear, QuantizeLinear"):
        bench.apply("fp16", source)


def test_a_model_without_floats_is_refused(bench: Bench) -> None:
    source = model_of(bench, [helper.make_node("Relu", ["x"], ["y"])], {})
    with pytest.raises(BuildError, match="no weights in 32-bit floats"):
        bench.apply("fp16", source)


def test_16_bits_come_before_a_quantizer_or_not_at_all() -> None:
    brought = Brought("onnx", has_student=False)
    assert Fp16().inapplicable((), brought) is None
    assert Fp16().inapplicable(("export_onnx", "prune_channels"), brought) is None
    reason = Fp16().inapplicable(("export_onnx", "int8_static"), brought)
    assert reason == "'fp16' cannot stand after 'int8_static'"

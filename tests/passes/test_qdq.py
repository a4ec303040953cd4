"""Graphs with Q/DQ pairs after the finishing touches: the same answers in another form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlopt.passes._qdq import quantize_biases, repeat_behind_flatten, store_unsigned

Array = np.ndarray[Any, Any]

ZERO = np.int8(3)


def model(nodes: Sequence[onnx.NodeProto], constants: dict[str, Any], rank: int = 4) -> Any:
    shape = ["batch", 3, 8, 8] if rank == 4 else ["batch", 3]
    output = ["batch", 5, "height", "width"] if rank == 4 else ["batch", 5]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def quantized_product(kind: str, axis: int, zero: Any = ZERO, **attributes: Any) -> Any:
    """A convolution or Gemm of an int8 input and a weight with a scale for each channel."""
    rng = np.random.default_rng(0)
    shape = {"Conv": (5, 3, 3, 3), "ConvTranspose": (3, 5, 3, 3), "Gemm": (3, 5)}[kind]
    if attributes.get("transB"):
        shape = shape[::-1]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=axis),
        helper.make_node(kind, ["xd", "wd", "bias"], ["y"], **attributes),
    ]
    constants = {
        "s": np.float32(0.05),
        "z": zero,
        "w": rng.integers(-127, 127, shape, np.int8),
        "ws": np.linspace(0.001, 0.02, 5, dtype=np.float32),
        "wz": np.zeros(5, np.int8),
        "bias": rng.normal(size=5).astype(np.float32),
    }
    return model(nodes, constants, 2 if kind == "Gemm" else 4)


def answer(quantized: Any, x: Array) -> Array:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        quantized.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: Array = session.run(None, {"x": x})[0]
    return found


def example(quantized: Any) -> Array:
    sizes = [d.dim_value or 4 for d in quantized.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(1).normal(size=sizes).astype(np.float32)


def names(quantized: Any) -> set[str]:
    return {tensor.name for tensor in quantized.graph.initializer}


@pytest.mark.parametrize(
    ("kind", "axis", "attributes"),
    [
        ("Conv", 0, {}),
        ("ConvTranspose", 1, {}),
        ("Gemm", 1, {}),
        ("Gemm", -1, {}),
        ("Gemm", 0, {"transB": 1}),
    ],
)
def test_a_bias_is_stored_in_32_bits_to_half_a_step_of_the_sum(
    kind: str, axis: int, attributes: dict[str, Any]
) -> None:
    quantized = quantized_product(kind, axis, **attributes)
    x = example(quantized)
    wanted = answer(quantized, x)

    assert quantize_biases(quantized) == 1

    onnx.checker.check_model(quantized, full_check=True)
    kinds = {tensor.name: tensor.data_type for tensor in quantized.graph.initializer}
    assert kinds["bias_int32"] == TensorProto.INT32
    assert "bias" not in kinds
    assert 0 < np.abs(answer(quantized, x) - wanted).max() <= 0.5 * 0.05 * 0.02 + 1e-6


@pytest.mark.parametrize(
    ("kind", "axis", "attributes"),
    [
        ("Conv", 1, {}),  # a scale for each input channel fits no bias
        ("Gemm", 0, {}),
        ("Gemm", 1, {"beta": 0.5}),
        ("Gemm", 1, {"alpha": 2.0}),
    ],
)
def test_a_bias_whose_scale_does_not_follow_stays_in_float(
    kind: str, axis: int, attributes: dict[str, Any]
) -> None:
    quantized = quantized_product(kind, axis, **attributes)

    assert quantize_biases(quantized) == 0
    assert "bias" in names(quantized)


def test_a_bias_that_32_bits_do_not_hold_stays_in_float() -> None:
    quantized = quantized_product("Conv", 0)
    bias = next(tensor for tensor in quantized.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(5, 1e9, np.float32), "bias"))

    assert quantize_biases(quantized) == 0


def test_a_bias_that_two_products_share_is_stored_for_each() -> None:
    quantized = quantized_product("Conv", 0)
    first = quantized.graph.node[3]
    second = helper.make_node("Conv", list(first.input), ["other"])
    first.output[0] = "one"
    quantized.graph.node.extend([second, helper.make_node("Add", ["one", "other"], ["y"])])
    wanted = answer(quantized, x := example(quantized))

    assert quantize_biases(quantized) == 2

    onnx.checker.check_model(quantized, full_check=True)
    assert np.allclose(answer(quantized, x), wanted, atol=2e-3)


def test_a_bias_beside_a_float_product_stays_in_float() -> None:
    quantized = quantized_product("Conv", 0)
    quantized.graph.node[3].input[0] = "x"

    assert quantize_biases(quantized) == 0


@pytest.mark.parametrize("zero", [-128, -3, 0, 127])
def test_an_activation_without_its_sign_stands_for_the_same_values(zero: int) -> None:
    quantized = quantized_product("Conv", 0, np.int8(zero))
    quantized.graph.value_info.append(
        helper.make_tensor_value_info("xq", TensorProto.INT8, ["batch", 3, 8, 8])
    )
    x = 10 * example(quantized)  # some of it saturates
    wanted = answer(quantized, x)

    assert store_unsigned(quantized) == 1

    onnx.checker.check_model(quantized, full_check=True)
    kinds = {tensor.name: tensor.data_type for tensor in quantized.graph.initializer}
    assert kinds["z_unsigned"] == TensorProto.UINT8
    assert kinds["w"] == kinds["wz"] == TensorProto.INT8
    assert np.array_equal(answer(quantized, x), wanted)


def test_an_unsigned_activation_stays_as_it_is() -> None:
    quantized = quantized_product("Conv", 0, np.uint8(7))
    before = quantized.SerializeToString()

    assert store_unsigned(quantized) == 0
    assert quantized.SerializeToString() == before


def test_a_quantized_tensor_that_the_model_gives_out_keeps_its_sign() -> None:
    quantized = quantized_product("Conv", 0)
    quantized.graph.output.append(helper.make_tensor_value_info("xq", TensorProto.INT8, None))

    assert store_unsigned(quantized) == 0


def test_a_pair_is_repeated_behind_a_flatten_and_changes_nothing() -> None:
    quantized = quantized_product("Gemm", 1)
    nodes = quantized.graph.node
    nodes.insert(2, helper.make_node("Flatten", ["xd"], ["flat"]))
    nodes[4].input[0] = "flat"
    wanted = answer(quantized, x := example(quantized))

    assert quantize_biases(quantized) == 0
    assert repeat_behind_flatten(quantized) == 1

    onnx.checker.check_model(quantized, full_check=True)
    assert np.array_equal(answer(quantized, x), wanted)
    assert quantize_biases(quantized) == 1
    assert repeat_behind_flatten(quantized_product("Gemm", 1)) == 0


def test_constants_that_only_a_branch_reads_are_kept() -> None:
    quantized = quantized_product("Conv", 0)
    inner = helper.make_graph(
        [helper.make_node("Identity", ["bias"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [5])],
    )
    quantized.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    quantized.graph.node.append(
        helper.make_node("If", ["yes"], ["z2"], then_branch=inner, else_branch=inner)
    )

    assert quantize_biases(quantized) == 1
    assert "bias" in names(quantized)

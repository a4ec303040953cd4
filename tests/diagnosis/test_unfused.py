"""Each reason why Q/DQ stay, shown by the graph that the runtime makes of a tiny one."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tiny_graphs import SIGNED, Tiny, optimized, types

from mlopt.diagnosis.graph import Graph
from mlopt.diagnosis.reasons import BECAUSE
from mlopt.diagnosis.unfused import unfused
from mlopt.types.diagnosis import Reason

IMAGE = (1, 4, 8, 8)
IS_X86 = platform.machine().lower() in {"x86_64", "amd64"}

FUSES = {"model_input", "model_output"}
"""The reasons that are left where everything in between was fused."""


def reasons(graph: Graph, level: str = "all") -> dict[str, str]:
    """Operator by reason."""
    return {one.reason: one.operator for one in unfused(graph, {}, level)}


def convolution(t: Tiny, x: str, bias: str | None = None) -> str:
    inputs = [x, t.weight(4, 4, 3, 3), *([] if bias is None else [bias])]
    return t.node("Conv", *inputs, pads=[1, 1, 1, 1])


def quantized_convolution() -> onnx.ModelProto:
    t = Tiny()
    return t.model(t.pair(convolution(t, t.pair(t.input("x", IMAGE)))))


def without_a_kernel() -> onnx.ModelProto:
    t = Tiny()
    return t.model(t.pair(t.node("Tanh", t.pair(t.input("x", IMAGE)))))


def with_a_float_weight() -> onnx.ModelProto:
    t = Tiny()
    weight = t.constant(np.ones((8, 8), np.float32))
    return t.model(t.pair(t.node("MatMul", t.pair(t.input("x", IMAGE)), weight)))


def with_a_float_input() -> onnx.ModelProto:
    t = Tiny()
    x, other = t.pair(t.input("x", IMAGE)), t.input("other", IMAGE)
    return t.model(t.pair(t.node("Add", x, other)))


def with_a_float_bias() -> onnx.ModelProto:
    t = Tiny()
    bias = t.input("bias", (4,))
    return t.model(t.pair(convolution(t, t.pair(t.input("x", IMAGE)), bias)))


def with_a_float_output() -> onnx.ModelProto:
    t = Tiny()
    return t.model(convolution(t, t.pair(t.input("x", IMAGE))))


def with_an_output_that_is_read_twice() -> onnx.ModelProto:
    t = Tiny()
    y = convolution(t, t.pair(t.input("x", IMAGE)))
    return t.model(t.pair(y), y)


def with_a_relu_that_stays() -> onnx.ModelProto:
    t = Tiny()  # its zero point is 128, so the quantized range goes below zero
    return t.model(t.pair(t.node("Relu", convolution(t, t.pair(t.input("x", IMAGE))))))


def with_different_types() -> onnx.ModelProto:
    t = Tiny()
    x = t.dequantize(t.input("x", IMAGE, TensorProto.INT8), 0.1, SIGNED)
    return t.model(t.pair(t.node("Add", x, t.pair(t.input("other", IMAGE)))))


def with_signed_activations() -> onnx.ModelProto:
    t = Tiny()  # no pair to convert at the model's own inputs and outputs
    x = t.dequantize(t.input("x", IMAGE, TensorProto.INT8), 0.1, SIGNED)
    return t.model(t.quantize(convolution(t, x), 0.1, SIGNED), kind=TensorProto.INT8)


def with_sixteen_bits() -> onnx.ModelProto:
    t = Tiny(opset=21)
    wide = np.uint16(30000)
    x, other = (t.pair(t.input(name, IMAGE), 0.1, wide) for name in ("x", "other"))
    return t.model(t.pair(t.node("Add", x, other), 0.1, wide))


def with_a_computed_scale() -> onnx.ModelProto:
    t = Tiny()
    scale = t.input("scale", ())
    x = t.dequantize(t.input("x", IMAGE, TensorProto.UINT8), scale)
    y = t.node("Transpose", x, perm=[0, 2, 3, 1])
    return t.model(t.quantize(y, scale), kind=TensorProto.UINT8)


def with_a_scale_for_each_channel() -> onnx.ModelProto:
    t = Tiny()
    scales, zeros = np.full(4, 0.1), np.full(4, 128, np.uint8)
    x = t.dequantize(t.input("x", IMAGE, TensorProto.UINT8), scales, zeros, axis=1)
    y = t.node("Transpose", x, perm=[0, 1, 3, 2])
    return t.model(t.quantize(y, scales, zeros, axis=1), kind=TensorProto.UINT8)


def with_scales_that_differ() -> onnx.ModelProto:
    t = Tiny()
    x = t.dequantize(t.input("x", IMAGE, TensorProto.UINT8), 0.1)
    y = t.node("Transpose", x, perm=[0, 2, 3, 1])
    return t.model(t.quantize(y, 0.2), kind=TensorProto.UINT8)


def with_an_old_operator_set() -> onnx.ModelProto:
    t = Tiny(opset=11)
    x = t.dequantize(t.input("x", IMAGE, TensorProto.UINT8))
    y = t.node("MaxPool", x, kernel_shape=[2, 2])
    return t.model(t.quantize(y), kind=TensorProto.UINT8)


def with_a_product_that_gives_float() -> onnx.ModelProto:
    t = Tiny()
    weight = t.constant(np.ones((8, 8), np.int8))
    inputs = t.input("x", IMAGE), weight, t.constant(np.float32(0.02))
    product = t.node("DynamicQuantizeMatMul", *inputs, domain="com.microsoft")
    return t.model(t.pair(product))


CASES: list[tuple[Callable[[], onnx.ModelProto], Reason, str]] = [
    (without_a_kernel, "no_int8_kernel", "Tanh"),
    (with_a_float_weight, "float_weight", "MatMul"),
    (with_a_float_input, "float_input", "Add"),
    (with_a_float_bias, "float_bias", "Conv"),
    (with_a_float_output, "output_not_quantized", "Conv"),
    (with_an_output_that_is_read_twice, "output_read_twice", "Conv"),
    (with_a_relu_that_stays, "activation_between", "Conv"),
    (with_different_types, "types_differ", "Add"),
    (with_sixteen_bits, "other_bits", "Add"),
    (with_a_computed_scale, "scale_not_constant", "Transpose"),
    (with_a_scale_for_each_channel, "scale_not_scalar", "Transpose"),
    (with_scales_that_differ, "scales_differ", "Transpose"),
    (with_an_old_operator_set, "operator_version", "MaxPool"),
    (with_a_product_that_gives_float, "float_output", "DynamicQuantizeMatMul"),
]


@pytest.mark.parametrize(("build", "reason", "operator"), CASES, ids=[c[1] for c in CASES])
def test_the_reason_is_found_in_the_graph_that_runs(
    build: Callable[[], onnx.ModelProto], reason: Reason, operator: str, tmp_path: Path
) -> None:
    found = reasons(optimized(build(), tmp_path))

    assert found[reason] == operator
    assert set(found) <= {reason, *FUSES}


@pytest.mark.skipif(not IS_X86, reason="other processors multiply signed by signed bytes")
def test_signed_activations_that_nothing_converts_stay_in_float(tmp_path: Path) -> None:
    found = reasons(optimized(with_signed_activations(), tmp_path))

    assert found == {"signed_activations": "Conv"}


def test_what_is_fused_leaves_the_ends_of_the_model_only(tmp_path: Path) -> None:
    graph = optimized(quantized_convolution(), tmp_path)

    assert "QLinearConv" in types(graph)
    assert reasons(graph) == {"model_input": "", "model_output": ""}


def test_a_level_that_fuses_nothing_is_the_reason(tmp_path: Path) -> None:
    graph = optimized(quantized_convolution(), tmp_path, level="basic")

    assert reasons(graph, "basic")["optimization_level"] == "Conv"


def test_one_line_holds_all_nodes_of_a_reason_with_their_time(tmp_path: Path) -> None:
    graph = optimized(without_a_kernel(), tmp_path)
    times = {node.name: 0.25 for node in graph.nodes}

    worst, *rest = unfused(graph, times)

    assert (worst.reason, worst.count, worst.time_ms) == ("no_int8_kernel", 2, 0.5)
    assert worst.nodes == ("Tanh2",)
    assert worst.because.startswith("Tanh has no INT8 kernel")
    assert {one.time_ms for one in rest} == {0.25}


def test_every_reason_has_words() -> None:
    from typing import get_args

    assert set(BECAUSE) == set(get_args(Reason))

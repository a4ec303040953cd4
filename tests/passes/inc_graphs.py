"""Small graphs with Q/DQ, as neural-compressor's are exported: weights in float, and Clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 4


class Builder:
    """Collects nodes and initializers under readable names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {
            "least": np.int8(-128),
            "largest": np.int8(127),
        }

    def node(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [output], output, **attributes))
        return output

    def rounded(self, name: str, scale: float, zero_point: int = 0) -> str:
        """An activation and its Q/DQ."""
        grid = [f"{name}_s", f"{name}_z"]
        self.constants |= {grid[0]: np.float32(scale), grid[1]: np.uint8(zero_point)}
        self.node("QuantizeLinear", [name, *grid], f"{name}_q")
        return self.node("DequantizeLinear", [f"{name}_q", *grid], f"{name}_d")

    def weight(self, name: str, value: np.ndarray[Any, Any], upper: str = "largest") -> str:
        """A weight and its Q/DQ, a Clip between them, one scale for each of its first axis."""
        rest = tuple(range(1, value.ndim))
        grid = [f"{name}_s", f"{name}_z"]
        self.constants[name] = value
        self.constants[grid[0]] = np.abs(value).max(axis=rest) / np.float32(127.5)
        self.constants[grid[1]] = np.zeros(len(value), np.int8)
        self.node("QuantizeLinear", [name, *grid], f"{name}_q", axis=0)
        self.node("Clip", [f"{name}_q", "least", upper], f"{name}_c")
        return self.node("DequantizeLinear", [f"{name}_c", *grid], f"{name}_d", axis=0)

    def model(self, shape: list[Any], output: str) -> ir.Model:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", 18)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def values(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def residual_block(tail: str | None = None) -> ir.Model:
    """relu(conv2(relu(conv1(x))) + x): nothing is quantized between conv2 and the sum."""
    build = Builder()
    x = build.rounded("x", 0.03, 128)
    build.constants |= {"b1": values(CHANNELS, seed=3), "b2": values(CHANNELS, seed=4)}
    first = build.weight("w1", values(CHANNELS, CHANNELS, 3, 3, seed=1))
    build.node("Conv", [x, first, "b1"], "conv1", pads=[1] * 4)
    inner = build.rounded(build.node("Relu", ["conv1"], "relu1"), 0.1)
    second = build.weight("w2", values(CHANNELS, CHANNELS, 3, 3, seed=2))
    build.node("Conv", [inner, second, "b2"], "conv2", pads=[1] * 4)
    build.node("Add", ["conv2", x], "sum")
    output = build.node("Relu", ["sum"], "y")
    if tail is not None:
        output = build.node(tail, ["y"], "z")
    return build.model(["batch", CHANNELS, 6, 6], output)


def linear_layer() -> ir.Model:
    """A product with a transposed weight, as a linear layer on three axes is exported."""
    build = Builder()
    x = build.rounded("x", 0.03, 128)
    weight = build.weight("w", values(5, 8))
    build.node("MatMul", [x, build.node("Transpose", [weight], "wt", perm=[1, 0])], "y")
    return build.model(["batch", 3, 8], "y")


def attention() -> ir.Model:
    """softmax(x' x) x: both factors of the products are activations, and none is quantized."""
    build = Builder()
    build.node("Transpose", ["x"], "turned", perm=[0, 2, 1])
    build.node("Softmax", [build.node("MatMul", ["turned", "x"], "scores")], "shares", axis=-1)
    build.node("Transpose", ["x"], "values", perm=[0, 2, 1])
    build.node("MatMul", ["shares", "values"], "y")
    return build.model(["batch", 3, 8], "y")


def answer(model: ir.Model, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the graph computes as it stands, node by node."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def fused(model: bytes | Path, directory: Path) -> Mapping[str, int]:
    """How often each operator stands in the graph that ONNX Runtime runs."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(directory / "optimized.onnx")
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    types = [node.op_type for node in nodes]
    return {one: types.count(one) for one in types}

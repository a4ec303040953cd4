"""Graphs of a few nodes with Q/DQ, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from mlopt.diagnosis.graph import Graph

LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
UNSIGNED, SIGNED = np.uint8(128), np.int8(0)


class Tiny:
    """A graph that grows by one node a call; each call returns the name of what the node makes."""

    def __init__(self, opset: int = 17) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}{len(self.nodes)}"
        made = helper.make_node(operator, list(inputs), [f"{name}_y"], name=name, **attributes)
        self.nodes.append(made)
        return f"{name}_y"

    def quantize(
        self, value: str, scale: Any = 0.1, zero: Any = UNSIGNED, **attributes: Any
    ) -> str:
        return self.node("QuantizeLinear", value, *self._parameters(scale, zero), **attributes)

    def dequantize(
        self, value: str, scale: Any = 0.1, zero: Any = UNSIGNED, **attributes: Any
    ) -> str:
        return self.node("DequantizeLinear", value, *self._parameters(scale, zero), **attributes)

    def pair(self, value: str, scale: Any = 0.1, zero: Any = UNSIGNED) -> str:
        return self.dequantize(self.quantize(value, scale, zero), scale, zero)

    def weight(self, *shape: int, largest: int = 127, kind: type = np.int8) -> str:
        """A dequantized weight that reaches from 0 to ``largest``."""
        values = np.linspace(0, largest, int(np.prod(shape))).reshape(shape).astype(kind)
        return self.dequantize(self.constant(values), 0.02, kind(0))

    def _parameters(self, scale: Any, zero: Any) -> tuple[str, str]:
        named = scale if isinstance(scale, str) else self.constant(np.asarray(scale, np.float32))
        return named, self.constant(zero)

    def model(self, *outputs: str, kind: int = TensorProto.FLOAT, rank: int = 4) -> onnx.ModelProto:
        shape = [f"d{i}" for i in range(rank)]
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            self.inputs,
            [helper.make_tensor_value_info(name, kind, shape) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def optimized(model: onnx.ModelProto, directory: Path, level: str = "all") -> Graph:
    """The graph that ONNX Runtime executes on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath = str(directory / "optimized.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Graph.read(directory / "optimized.onnx")


def types(graph: Graph) -> list[str]:
    """Types of the operators, sorted."""
    return sorted(node.op_type for node in graph.nodes)

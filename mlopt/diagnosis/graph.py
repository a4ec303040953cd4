"""An ONNX graph to walk in: who makes a value, who reads it, and what is constant."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.diagnosis.operators import DEQUANTIZE, LAYOUT

if TYPE_CHECKING:
    import numpy as np
    import onnx


class Graph:
    """The top level of a model's graph; its external data is read when a value is asked for."""

    def __init__(self, model: onnx.ModelProto, directory: Path) -> None:
        """Indexes the nodes.

        Args:
            model: Its external data need not be loaded.
            directory: Where that lies.
        """
        self._directory = directory
        self._graph = model.graph
        self.opset = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
        self.nodes = [node for node in model.graph.node if node.op_type != "Constant"]
        self.outputs = {value.name for value in model.graph.output}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self._constants[node.output[0]] = node.attribute[0].t
        self._producers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                if name:
                    self._readers[name].append(node)

    @classmethod
    def read(cls, path: Path) -> Graph:
        """The graph in a file."""
        import onnx

        return cls(onnx.load(str(path), load_external_data=False), path.parent)

    @cached_property
    def by_name(self) -> dict[str, onnx.NodeProto]:
        """Nodes by their names."""
        return {node.name: node for node in self.nodes if node.name}

    def producer(self, value: str) -> onnx.NodeProto | None:
        """The node that makes a value; None for the model's inputs and constants."""
        return self._producers.get(value)

    def source(self, value: str) -> onnx.NodeProto | None:
        """As :meth:`producer`, behind what only changes the layout."""
        node = self.producer(value)
        while node is not None and node.op_type in LAYOUT:
            node = self.producer(node.input[0])
        return node

    def readers(self, value: str) -> list[onnx.NodeProto]:
        """The nodes that read a value, once for each time that they do."""
        return self._readers.get(value, [])

    def users(self, value: str) -> list[onnx.NodeProto]:
        """As :meth:`readers`, behind what only changes the layout."""
        found: list[onnx.NodeProto] = []
        for node in self.readers(value):
            found += self.users(node.output[0]) if node.op_type in LAYOUT else [node]
        return found

    def is_constant(self, value: str) -> bool:
        """Whether a value stands in the file."""
        return value in self._constants

    def shape(self, value: str) -> tuple[int, ...] | None:
        """The shape of a constant; None for any other value."""
        tensor = self._constants.get(value)
        return None if tensor is None else tuple(tensor.dims)

    def size_bytes(self, value: str) -> int:
        """Bytes of a constant; 0 for any other value."""
        import onnx

        tensor = self._constants.get(value)
        if tensor is None:
            return 0
        small = {"INT4": 0.5, "UINT4": 0.5, "FLOAT4E2M1": 0.5}
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        each = small.get(kind)
        if each is None:
            each = float(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
        elements: int = math.prod(tensor.dims)
        return math.ceil(elements * each)

    def array(self, value: str) -> np.ndarray[Any, Any] | None:
        """A constant; None for any other value."""
        from onnx import numpy_helper

        tensor = self._constants.get(value)
        if tensor is None:
            return None
        return numpy_helper.to_array(tensor, base_dir=str(self._directory))

    @cached_property
    def _types(self) -> dict[str, int]:
        values = (*self._graph.value_info, *self._graph.input, *self._graph.output)
        found = {value.name: value.type.tensor_type.elem_type for value in values}
        return found | {name: tensor.data_type for name, tensor in self._constants.items()}

    def dtype(self, value: str) -> str:
        """Element type of a value, such as ``INT8``; ``UNDEFINED`` where the file does not say."""
        import onnx

        return str(onnx.TensorProto.DataType.Name(self._types.get(value, 0)))


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute of a node, or what it is when it is not there."""
    from onnx import helper

    for one in node.attribute:
        if one.name == name:
            return helper.get_attribute_value(one)
    return default


def quantized_type(graph: Graph, node: onnx.NodeProto) -> str:
    """The integer type of a QuantizeLinear or DequantizeLinear, such as ``UINT8``."""
    dequantizes = node.op_type == DEQUANTIZE
    if len(node.input) > 2 and node.input[2]:
        known = graph.dtype(node.input[2])
    else:
        known = graph.dtype(node.input[0] if dequantizes else node.output[0])
    if known == "UNDEFINED" and not dequantizes and not attribute(node, "output_dtype", 0):
        return "UINT8"  # the default of the standard
    return known

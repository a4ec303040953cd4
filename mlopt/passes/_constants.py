"""The constants of an ONNX graph: found behind what only hands them on, and replaced safely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.passes._onnx import EXTERNAL_DATA_FROM_BYTES

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

_HANDED_ON = frozenset({"Identity", "Transpose"})


class Constants:
    """The tensors of a graph that no caller and no node changes.

    A constant is an initializer, or the output of a ``Constant`` node, or one of these behind
    ``Transpose`` and ``Identity`` nodes, as exporters leave the weights of linear layers.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        """Looks at ``graph``, whose weights are in memory."""
        fed = {value.name for value in graph.input}  # a caller may give it another value
        self._graph = graph
        self._tensors = {t.name: t for t in graph.initializer if t.name not in fed}
        self._nodes = {
            node.output[0]: node
            for node in graph.node
            if node.op_type in _HANDED_ON or node.op_type == "Constant"
        }
        self._uses = _uses(graph)
        self._taken = fed | set(self._uses) | {t.name for t in graph.initializer}
        self._taken |= {output for node in graph.node for output in node.output}
        self._stored: dict[tuple[str, bool, float], str] = {}

    def dims(self, name: str) -> tuple[int, ...] | None:
        """The shape of a floating-point constant; None for anything else."""
        from onnx import TensorProto

        traced = self._trace(name)
        if traced is None:
            return None
        tensor, orders = traced
        if tensor.data_type not in {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}:
            return None
        dims = tuple(tensor.dims)
        for order in orders:
            dims = tuple(dims[axis] for axis in order) if order else dims[::-1]
        return dims

    def value(self, name: str) -> Array:
        """The elements of a constant.

        Raises:
            KeyError: It is none.
        """
        from onnx import numpy_helper

        traced = self._trace(name)
        if traced is None:
            raise KeyError(name)
        tensor, orders = traced
        array: Array = numpy_helper.to_array(tensor)
        for order in orders:
            array = array.transpose(order or None)
        return array

    def replace(self, node: onnx.NodeProto, position: int, value: Array) -> None:
        """Gives one input of a node another constant; no other reader of the old one sees it."""
        import numpy as np
        from onnx import numpy_helper

        name = node.input[position]
        if name in self._tensors and self._uses[name] == 1:
            self._tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
            return
        self._uses[name] -= 1
        node.input[position] = self.add(value, name)
        self._uses[node.input[position]] = 1

    def add(self, value: Array, like: str) -> str:
        """Adds an initializer, and returns its name, which begins with ``like``."""
        import numpy as np
        from onnx import numpy_helper

        name = self.new_name(like)
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        self._tensors[name] = self._graph.initializer[-1]
        return name

    def stored(self, name: str, transposed: bool = False, factor: float = 1.0) -> str:
        """The name of an initializer with this constant; made once for all that read it.

        Args:
            name: Of the constant.
            transposed: With its axes in the opposite order.
            factor: That it is multiplied by.
        """
        if name in self._tensors and not transposed and factor == 1:
            return name
        key = (name, transposed, factor)
        if key not in self._stored:
            value = self.value(name)
            turned = value.transpose() if transposed else value
            self._stored[key] = self.add((turned * factor).astype(value.dtype), name)
        return self._stored[key]

    def new_name(self, like: str) -> str:
        """A name that nothing in the graph has yet."""
        number = 1
        while (name := f"{like}_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name

    def drop_unused(self) -> None:
        """Removes initializers that nothing reads, and nodes that only handed them on."""
        uses = _uses(self._graph)
        for i in reversed(range(len(self._graph.node))):  # readers stand behind what they read
            node = self._graph.node[i]
            if (node.op_type in _HANDED_ON or node.op_type == "Constant") and not any(
                uses[output] for output in node.output
            ):
                uses.subtract(node.input)
                del self._graph.node[i]
        for i in reversed(range(len(self._graph.initializer))):
            if not uses[self._graph.initializer[i].name]:
                del self._graph.initializer[i]

    def _trace(self, name: str) -> tuple[onnx.TensorProto, list[list[int]]] | None:
        """The tensor behind a name, and the orders of axes that it goes through, first to last."""
        orders: list[list[int]] = []
        while name not in self._tensors:
            node = self._nodes.get(name)
            if node is None:
                return None
            if node.op_type == "Constant":
                held = [a.t for a in node.attribute if a.name == "value"]
                return (held[0], orders[::-1]) if held else None
            if node.op_type == "Transpose":
                orders.append(next((list(a.ints) for a in node.attribute if a.name == "perm"), []))
            name = node.input[0]
        return self._tensors[name], orders[::-1]


def nested(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The branches and loop bodies of a node, and those in them."""
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield graph
            for inner in graph.node:
                yield from nested(inner)


def save_graph(model: onnx.ModelProto, target: Path, size_bytes: int) -> None:
    """Writes a model; from :data:`EXTERNAL_DATA_FROM_BYTES` on with its weights in a second file.

    Args:
        model: With its weights in memory.
        target: The file.
        size_bytes: About as large as it gets.
    """
    import onnx

    external = size_bytes > EXTERNAL_DATA_FROM_BYTES
    onnx.save(model, str(target), save_as_external_data=external, location=f"{target.name}.data")


def _uses(graph: onnx.GraphProto) -> Counter[str]:
    """How often each tensor is read, inside of branches and loop bodies too."""
    found = Counter(output.name for output in graph.output)
    for node in graph.node:
        found.update(node.input)
        for inner in nested(node):
            found.update(output.name for output in inner.output)
            found.update(name for one in inner.node for name in one.input)
    return found

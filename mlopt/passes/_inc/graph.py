"""What the surgery asks of a graph: its constants, and the grids that its tensors are put on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class Grid(NamedTuple):
    """What a tensor is rounded to.

    Attributes:
        scale: One, or one for each slice along ``axis``; shape () or (C,).
        zero_point: Of the same shape; its type is that of the integers.
        axis: Where the slices lie; means nothing for one scale.
    """

    scale: Array
    zero_point: Array
    axis: int = 0

    def along(self, dims: int) -> Grid:
        """The same, shaped so that it multiplies a tensor of ``dims`` axes."""
        if not self.scale.ndim:
            return self
        shape = [1] * dims
        shape[self.axis] = -1
        return self._replace(
            scale=self.scale.reshape(shape), zero_point=self.zero_point.reshape(shape)
        )


def made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that makes ``value``, if it is of this type."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def constant(value: ir.Value | None) -> Array | None:
    """The elements of a constant, also of one that is only converted; None for what is computed."""
    import onnx_ir as ir

    if value is None or value.is_graph_input():
        return None
    if (tensor := ir.convenience.get_const_tensor(value)) is not None:
        return tensor.numpy()
    node = value.producer()
    if node is None or node.op_type not in {"Cast", "CastLike", "Identity"}:
        return None
    array = constant(node.inputs[0])
    if node.op_type == "Identity" or array is None:
        return array
    if node.op_type == "Cast":
        return array.astype(ir.DataType(node.attributes["to"].as_int()).numpy())
    like = node.inputs[1]
    return None if like is None or like.dtype is None else array.astype(like.dtype.numpy())


def grid_of(node: ir.Node) -> Grid | None:
    """The grid of a QuantizeLinear or DequantizeLinear; None where it is computed."""
    import numpy as np

    scale = constant(node.inputs[1])
    if scale is None:
        return None
    zero_point: Array | None = np.zeros(scale.shape, np.uint8)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        zero_point = constant(node.inputs[2])
    if zero_point is None:
        return None
    axis = node.attributes.get("axis")
    return Grid(scale, zero_point, 1 if axis is None else axis.as_int())


def add_constant(graph: ir.Graph, like: str, array: Array) -> ir.Value:
    """Adds an initializer under the name ``like``, or one that begins so."""
    import numpy as np
    import onnx_ir as ir

    name, number = like, 1
    while name in graph.initializers:
        name, number = f"{like}_{number}", number + 1
    value = ir.val(name, const_value=ir.tensor(np.asarray(array), name=name))
    graph.register_initializer(value)
    return value


def converter(
    op_type: str, value: ir.Value, like: str, grid: tuple[ir.Value, ir.Value], axis: int | None
) -> ir.Node:
    """A QuantizeLinear or DequantizeLinear that is in no graph yet.

    Args:
        op_type: Which.
        value: What it reads.
        like: What the names of the node and its output begin with.
        grid: Scale and zero point.
        axis: Of the slices; None for one scale.
    """
    import onnx_ir as ir

    scale, zero_point = grid
    dtype = zero_point.dtype if op_type == QUANTIZE else scale.dtype
    return ir.node(
        op_type,
        [value, scale, zero_point],
        {} if axis is None else {"axis": axis},
        outputs=[ir.val(f"{like}_{op_type}_output", dtype=dtype, shape=value.shape)],
        name=f"{like}_{op_type}",
    )


def remove_unused(model: ir.Model) -> None:
    """Removes nodes and initializers that nothing reads."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)

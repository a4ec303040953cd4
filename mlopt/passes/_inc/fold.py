"""The weights in INT8, and no Clip where there is nothing to clip. The answers stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlopt.passes._inc.graph import (
    DEQUANTIZE,
    QUANTIZE,
    Grid,
    add_constant,
    constant,
    converter,
    grid_of,
    made_by,
    remove_unused,
)

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    Array = np.ndarray[Any, Any]

SEVEN_BITS = 64
"""Largest magnitude of a weight with a reduced range."""


def remove_clips(model: ir.Model) -> int:
    """Removes each Clip of a quantized tensor to the whole range of its type, in place.

    The exporter writes one, because PyTorch's operator names its bounds and ONNX's has none.

    Returns:
        How many there were.
    """
    removed = 0
    for node in list(model.graph):
        if node.op_type != "Clip" or made_by(node.inputs[0], QUANTIZE) is None:
            continue
        source, output = node.inputs[0], node.outputs[0]
        if source is None or output.is_graph_output() or not _holds_everything(node):
            continue
        output.replace_all_uses_with(source)
        model.graph.remove(node, safe=True)
        removed += 1
    remove_unused(model)
    return removed


def _holds_everything(clip: ir.Node) -> bool:
    """Whether the bounds are those of the type."""
    import numpy as np

    for position, side in ((1, "min"), (2, "max")):
        bound = constant(clip.inputs[position]) if len(clip.inputs) > position else None
        if bound is None or bound.dtype.kind not in "iu":
            return False
        if int(bound) != getattr(np.iinfo(bound.dtype), side):
            return False
    return True


def fold_weights(model: ir.Model, reduce_range: bool) -> int:
    """Stores as integers what is quantized and constant, in place.

    Args:
        model: Its Clips are removed.
        reduce_range: Store 7 bits, and a scale to fit.

    Returns:
        How many tensors were stored so.
    """
    stored: dict[ir.Node, tuple[ir.Value, ir.Value, ir.Value]] = {}
    for node in list(model.graph):
        source = made_by(node.inputs[0], QUANTIZE) if node.op_type == DEQUANTIZE else None
        weight, grid = (constant(source.inputs[0]), grid_of(source)) if source else (None, None)
        if source is None or weight is None or grid is None or len(node.inputs) != 3:
            continue
        if source not in stored:
            if reduce_range:
                grid = reduced(grid)
            name = (source.inputs[0] or source.outputs[0]).name or node.name or "weight"
            limit = SEVEN_BITS if reduce_range else None
            arrays = (rounded(weight, grid, limit), grid.scale, grid.zero_point)
            ends = ("quantized", "scale", "zero_point")
            integers, scale, zero = (
                add_constant(model.graph, f"{name}_{end}", array)
                for end, array in zip(ends, arrays, strict=True)
            )
            stored[source] = integers, scale, zero
        for position, value in enumerate(stored[source]):
            node.replace_input_with(position, value)
    _turn_weights(model)
    remove_unused(model)
    return len(stored)


def rounded(values: Array, grid: Grid, limit: int | None = None) -> Array:
    """Values on a grid, as QuantizeLinear rounds them: half to even, saturated.

    Args:
        values: Floats.
        grid: Where to.
        limit: Largest magnitude, where it is less than that of the type.
    """
    import numpy as np

    fitted = grid.along(values.ndim)
    kind = np.iinfo(grid.zero_point.dtype)
    low, high = (kind.min, kind.max) if limit is None else (-limit, limit)
    found = np.rint(values / fitted.scale) + fitted.zero_point
    whole: Array = np.clip(found, low, high).astype(grid.zero_point.dtype)
    return whole


def reduced(grid: Grid) -> Grid:
    """The grid of a symmetric weight with 7 bits: the same largest value, on fewer steps."""
    import numpy as np

    # The observer's scale is the largest magnitude over half of the 255 steps.
    scale = grid.scale * np.float32(127.5 / SEVEN_BITS)
    return grid._replace(scale=scale.astype(grid.scale.dtype))


def _turn_weights(model: ir.Model) -> None:
    """Stores a weight transposed where it is read so: a product reads a DequantizeLinear itself."""
    import numpy as np

    for node in list(model.graph):
        source = made_by(node.inputs[0], DEQUANTIZE) if node.op_type == "Transpose" else None
        integers, grid = (constant(source.inputs[0]), grid_of(source)) if source else (None, None)
        if source is None or integers is None or grid is None:
            continue
        scale, zero = source.inputs[1:3]
        order = node.attributes.get("perm")
        axes = tuple(reversed(range(integers.ndim))) if order is None else order.as_ints()
        assert scale is not None, "a weight is stored with a scale"
        assert zero is not None, "and with a zero point"
        name = f"{source.name or node.name}_transposed"
        turned = add_constant(model.graph, name, np.ascontiguousarray(integers.transpose(axes)))
        axis = axes.index(grid.axis % integers.ndim) if grid.scale.ndim else None
        dequantize = converter(DEQUANTIZE, turned, turned.name or name, (scale, zero), axis)
        model.graph.insert_before(node, dequantize)
        node.outputs[0].replace_all_uses_with(dequantize.outputs[0])
        model.graph.remove(node, safe=True)

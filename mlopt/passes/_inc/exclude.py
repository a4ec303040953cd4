"""Nodes that stay in float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlopt.errors import BuildError, did_you_mean
from mlopt.passes._inc.graph import DEQUANTIZE, QUANTIZE, made_by, remove_unused

if TYPE_CHECKING:
    import onnx_ir as ir


def keep_in_float(model: ir.Model, names: Sequence[str]) -> None:
    """Lets the named nodes read what was there before quantization, in place.

    Args:
        model: As it was exported, its weights still in float.
        names: Of nodes.

    Raises:
        BuildError: There is no such node.
    """
    nodes = {str(node.name): node for node in model.graph}
    for name in names:
        if name not in nodes:
            raise BuildError(
                f"exclude: the graph has no node '{name}'. {did_you_mean(name, nodes)}"
            )
        node = nodes[name]
        for position, value in enumerate(node.inputs):
            node.replace_input_with(position, _in_float(value))
    remove_unused(model)


def _in_float(value: ir.Value | None) -> ir.Value | None:
    """What ``value`` was before it was quantized, or itself."""
    turned = made_by(value, "Transpose")  # the weight of a linear layer
    if turned is not None:
        turned.replace_input_with(0, _in_float(turned.inputs[0]))
        return value
    dequantize = made_by(value, DEQUANTIZE)
    if dequantize is None:
        return value
    integers = dequantize.inputs[0]
    clip = made_by(integers, "Clip")
    quantize = made_by(integers if clip is None else clip.inputs[0], QUANTIZE)
    return value if quantize is None else quantize.inputs[0]

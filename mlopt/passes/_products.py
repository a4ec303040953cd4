"""Static INT8 for products alone: which ones, and what keeps reading floats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

PRODUCTS = ("Gemm", "MatMul")
CONVOLUTIONS = ("Conv", "ConvTranspose")


def products_of_activations(path: Path) -> list[str]:
    """Names of the products of two activations, as in an attention: rounding both costs time."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in PRODUCTS and constants.isdisjoint(node.input[:2])
    ]


def restore_float_readers(path: Path) -> None:
    """Lets all but products read activations as they were before they were rounded for these.

    ONNX Runtime's quantizer gives a rounded tensor to everybody who reads it: to the sum behind a
    block too, say, which is not computed in 8 bits.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    made_by = {output: node for node in model.graph.node for output in node.output}
    exact = {
        output: source
        for output, node in made_by.items()
        if node.op_type == "DequantizeLinear"
        and (source := _before_rounding(node, made_by)) is not None
    }
    dequantized = {o for o, node in made_by.items() if node.op_type == "DequantizeLinear"}
    changed = False
    for node in model.graph.node:
        in_8_bits = node.op_type in {*PRODUCTS, *CONVOLUTIONS} and dequantized.issuperset(
            node.input[:2]
        )
        for position, name in enumerate(node.input):
            if not in_8_bits and name in exact:
                node.input[position] = exact[name]
                changed = True
    if changed:
        onnx.save(model, str(path))


def _before_rounding(
    dequantize: onnx.NodeProto, made_by: Mapping[str, onnx.NodeProto]
) -> str | None:
    """The activation before its Q/DQ pair; None for a weight, and behind a convolution.

    A convolution that writes 8 bits has no kernel that writes floats as well.
    """
    quantize = made_by.get(dequantize.input[0])
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return None
    source = made_by.get(quantize.input[0])
    if source is not None and source.op_type in CONVOLUTIONS:
        return None
    name: str = quantize.input[0]
    return name

"""What a quantizer left behind: which products are in 8 bits, and which stayed in float."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.errors import BuildError
from mlopt.passes._onnx import all_nodes

if TYPE_CHECKING:
    import onnx

FLOAT_PRODUCTS = frozenset(
    {"Attention", "Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN"}
)
"""Operators that multiply matrices; in a QDQ graph they are in 8 bits when what they read is."""

INTEGER_PRODUCTS = frozenset(
    {"ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "QAttention"}
)
"""What ONNX Runtime's dynamic quantizer puts in their place."""

MOVES = frozenset({"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that give back values they got: ONNX Runtime moves the pair of Q/DQ behind them."""

_PAIR = 2
"""Both factors of a product are its first two inputs; what follows is a bias or a state."""


def describe_quantization(path: Path) -> dict[str, Any]:
    """Facts on a quantized graph, so that no candidate passes for more INT8 than it is.

    Returns:
        ``quantized`` and ``left_in_float``: the operators that multiply, by type, with their number;
        ``share_of_weights_in_8_bits``: of the elements of all matrices and larger tensors.

    Raises:
        BuildError: No product and no weight is in 8 bits.
    """
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    nodes = list(all_nodes(graph))
    dequantized = _dequantized(nodes)
    inside, outside = Counter[str](), Counter[str]()
    for node in nodes:
        if node.op_type in INTEGER_PRODUCTS:
            inside[node.op_type] += 1
        elif node.op_type in FLOAT_PRODUCTS:
            both = dequantized.issuperset(node.input[:_PAIR])
            (inside if both else outside)[node.op_type] += 1
    share = _share_in_8_bits(graph.initializer)
    if not inside and not share:
        types = ", ".join(sorted({node.op_type for node in nodes}))
        raise BuildError(f"nothing in the graph can be quantized (it has {types})")
    facts: dict[str, Any] = {"quantized": dict(inside.most_common())}
    if outside:
        facts["left_in_float"] = dict(outside.most_common())
    return facts | {"share_of_weights_in_8_bits": round(share, 3)}


def _dequantized(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """What is in 8 bits where it is read: a DequantizeLinear made it, or moved through others."""
    found = set[str]()
    for node in nodes:
        if node.op_type == "DequantizeLinear" or (
            node.op_type in MOVES and found.issuperset(node.input[:1])
        ):
            found.update(node.output)
    return found


def _share_in_8_bits(tensors: Iterable[onnx.TensorProto]) -> float:
    """Of the elements of tensors with two axes or more: scales, zero points, biases do not count."""
    from onnx import TensorProto

    small = {TensorProto.INT8, TensorProto.UINT8}
    counted = small | {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    }  # fmt: skip
    sizes = [
        (tensor.data_type in small, math.prod(tensor.dims))
        for tensor in tensors
        if tensor.data_type in counted and len(tensor.dims) > 1
    ]
    total = sum(size for _, size in sizes)
    return sum(size for eight_bits, size in sizes if eight_bits) / total if total else 0.0

"""Whether INT8 products can saturate: here, and on other processors of the same architecture.

x86 without VNNI multiplies unsigned by signed bytes with VPMADDUBSW, which adds two neighbouring
products in 16 bits: 255 * w1 + 255 * w2 leaves them unless w1 + w2 <= 128. Weights within 64 are safe
however they are paired (7 bits: ``reduce_range``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mlopt.diagnosis.arithmetic import weight_index
from mlopt.diagnosis.graph import Graph, quantized_type
from mlopt.diagnosis.operators import DEQUANTIZE, INTEGER_PRODUCTS
from mlopt.types.diagnosis import Portability

SAFE = 64
"""The largest weight of which two fit: 2 * 64 * 255 < 2^15."""

_ZERO_POINTS = {
    "QLinearConv": 2, "QLinearMatMul": 2, "QGemm": 2, "ConvInteger": 2, "MatMulInteger": 2,
    "MatMulIntegerToFloat": 4, "QAttention": 6,
}  # fmt: skip
"""Which input is the activations' zero point, whose type is theirs."""


class _Product(NamedTuple):
    """An INT8 product: the type of its activations, and its weight's name."""

    activations: str
    weight: str


def portability(
    graph: Graph, *, is_x86: bool, exact: bool | None, how: str = ""
) -> Portability | None:
    """What a graph's INT8 products give on this processor and on others.

    Args:
        graph: As the runtime executes it, or as it stands in the file.
        is_x86: Whether this processor is one.
        exact: Whether it adds the products of bytes in 32 bits.
        how: The instructions that do so.

    Returns:
        None when nothing is multiplied in 8 bits.
    """
    products = list(_products(graph))
    if not products:
        return None
    mixed = [one for one in products if one.activations == "UINT8" and _is_signed(graph, one)]
    largest = [_largest(graph, one.weight) for one in mixed]
    beyond = sum(magnitude > SAFE for magnitude in largest)
    return Portability(
        products=len(products),
        unsigned_by_signed=len(mixed),
        can_saturate=beyond,
        largest_weight=max(largest, default=None),
        exact_here=exact if is_x86 else True,
        verdict=_verdict(len(mixed), beyond, is_x86=is_x86, exact=exact, how=how),
    )


def _products(graph: Graph) -> Iterator[_Product]:
    for node in graph.nodes:
        if node.op_type in INTEGER_PRODUCTS:
            weight = _at(node.input, weight_index(node.op_type))
            zero = _at(node.input, _ZERO_POINTS.get(node.op_type, len(node.input)))
            # Without a zero point: dynamic quantization, which is to UINT8, or the input's own type.
            own = graph.dtype(zero) if zero else graph.dtype(node.input[0])
            yield _Product(own if own in {"INT8", "UINT8"} else "UINT8", weight)
        elif node.op_type in {"Conv", "MatMul", "Gemm"}:
            first, second = (graph.source(name) for name in node.input[:2])
            if first is None or second is None:
                continue
            if first.op_type == second.op_type == DEQUANTIZE and graph.is_constant(second.input[0]):
                yield _Product(quantized_type(graph, first), second.input[0])


def _at(names: object, index: int) -> str:
    listed = list(names)  # type: ignore[call-overload]  # protobuf's container has no type
    return str(listed[index]) if index < len(listed) else ""


def _is_signed(graph: Graph, product: _Product) -> bool:
    return graph.dtype(product.weight) == "INT8"


def _largest(graph: Graph, weight: str) -> int:
    """The largest magnitude; that of the type where the weight is no constant."""
    values = graph.array(weight)
    if values is None:
        return 128
    return max(abs(int(values.min())), abs(int(values.max()))) if values.size else 0


def _verdict(mixed: int, beyond: int, *, is_x86: bool, exact: bool | None, how: str) -> str:
    if mixed == 0:
        return (
            "no product of unsigned by signed bytes: nothing saturates in between on any processor"
        )
    if beyond == 0:
        return f"all weights lie within {SAFE}: no product saturates, with VNNI or without"
    count = f"{beyond} of {mixed} products have weights beyond {SAFE}"
    elsewhere = (
        f"on an x86 without VNNI or AMX (AVX2, AVX512) {count} and can saturate: build for those with "
        "reduce_range"
    )
    if not is_x86:
        return f"correct here, where products are added in 32 bits; {elsewhere}"
    if exact is None:
        return f"the instruction sets of this processor cannot be read; {elsewhere}"
    if exact:
        return f"correct here because of {how or 'VNNI'}; {elsewhere}"
    return (
        f"this processor has neither VNNI nor AMX: {count} and can saturate here, which changes the "
        "answers: use reduce_range"
    )

"""How much a node multiplies: multiply-accumulates from shapes.

One multiply-accumulate (MAC) is two operations in the tera-operations of a data sheet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlopt.diagnosis.operators import ATTENTIONS, CONVOLUTIONS, MATRIX_PRODUCTS, RECURRENT

Shape = tuple[int, ...]


def weight_index(operator: str) -> int:
    """Which input of a product is its weight, or its second factor."""
    if operator in {"QLinearConv", "QLinearMatMul", "QGemm"}:
        return 3
    return 1


def macs_of(
    operator: str,
    inputs: Sequence[Shape | None],
    outputs: Sequence[Shape],
    attributes: Mapping[str, Any],
) -> int | None:
    """Multiply-accumulates of one run of a node.

    Args:
        operator: Its type.
        inputs: Shapes by position; None where they are not known or there is no such input.
        outputs: The same; the first one matters.
        attributes: Its attributes by name.

    Returns:
        None when it is no product, or when a shape that is needed is not known.
    """
    if not outputs:
        return None
    at = dict(enumerate(inputs))
    first, weight = at.get(0), at.get(weight_index(operator))
    if operator in CONVOLUTIONS:
        return _convolution(operator, first, weight, outputs[0])
    if operator in MATRIX_PRODUCTS:
        return _matrix_product(first, outputs[0], attributes)
    if operator == "MultiHeadAttention":
        return _scores(first, at.get(1))
    if operator in ATTENTIONS:
        return _attention(first, weight, outputs[0])
    return _recurrent(first, weight, at.get(2)) if operator in RECURRENT else None


def _convolution(
    operator: str, first: Shape | None, weight: Shape | None, output: Shape
) -> int | None:
    if weight is None or len(weight) < 2:
        return None
    if operator == "ConvTranspose":  # its weight is (C, M / groups, ...), used once for each input
        return None if first is None else math.prod(first) * math.prod(weight[1:])
    return math.prod(output) * math.prod(weight[1:])  # (M, C / groups, ...) for each output


def _matrix_product(
    first: Shape | None, output: Shape, attributes: Mapping[str, Any]
) -> int | None:
    if attributes.get("K"):
        return math.prod(output) * int(attributes["K"])
    if not first:
        return None
    turned = bool(attributes.get("transA")) and len(first) > 1
    return math.prod(output) * first[-2 if turned else -1]


def _attention(first: Shape | None, weight: Shape | None, output: Shape) -> int | None:
    """The projections of queries, keys and values, and what follows; its weight is (I, 3 * H)."""
    if first is None or weight is None:
        return None
    hidden = (*first[:-1], output[-1])
    return math.prod(first[:-1]) * math.prod(weight) + (_scores(hidden, hidden) or 0)


def _scores(query: Shape | None, key: Shape | None) -> int | None:
    """Both products inside attention: queries by keys, and weights by values; (N, S, H) each."""
    if query is None or key is None or len(query) != 3 or len(key) < 3:
        return None
    length = key[1] if len(key) == 3 else key[-2]
    return 2 * query[0] * query[1] * query[2] * length


def _recurrent(first: Shape | None, weight: Shape | None, recurrence: Shape | None) -> int | None:
    """Every step multiplies its input and its state by the weights of all gates."""
    if first is None or len(first) != 3 or weight is None or recurrence is None:
        return None
    return first[0] * first[1] * (math.prod(weight) + math.prod(recurrence))

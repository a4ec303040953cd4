"""The factors of one place, and what they change in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.passes._constants import Constants
from mlopt.passes._smoothing import INSERTED
from mlopt.passes._smoothing.places import Place, Product

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

_LEAST = 1e-5
"""No factor is smaller than this, as in the authors' code, nor larger than its inverse."""


class Spread(NamedTuple):
    """The largest channel of an activation over the median one, before and after."""

    before: float
    after: float


def smoothing_factors(activations: Array, weights: Array, alpha: float) -> Array:
    """What the channels of an activation are divided by, and the rows of its weights multiplied by.

    Equation 4 of Xiao et al., SmoothQuant (ICML 2023): ``max|X_j|^alpha / max|W_j|^(1 - alpha)``.
    A channel that is zero, in the activation or in all weights, keeps its scale.

    Args:
        activations: ``max|X_j|``, shape (channels,).
        weights: ``max|W_j|`` over all matrices that read the activation, shape (channels,).
        alpha: How much of the difficulty goes to the weights, 0 to 1.
    """
    import numpy as np

    used = (activations > 0) & (weights > 0)
    x, w = np.where(used, activations, 1.0), np.where(used, weights, 1.0)
    return np.clip(np.where(used, x**alpha / w ** (1 - alpha), 1.0), _LEAST, 1 / _LEAST)


def smooth(
    place: Place,
    graph: onnx.GraphProto,
    constants: Constants,
    maxima: Mapping[str, Array],
    alpha: float,
) -> Spread:
    """Moves the factors of a place from its activation into its weights; the model stays the same.

    Args:
        place: Worked on after all that stand behind it.
        graph: Is changed.
        constants: Of the graph.
        maxima: Of each of the place's tensors, by channel.
        alpha: As in :func:`smoothing_factors`.
    """
    import numpy as np

    x = np.max([maxima[tensor] for tensor in place.tensors], axis=0)
    w = np.max([_rows(product, constants) for product in place.products], axis=0)
    factors = smoothing_factors(x, w, alpha)
    for product in place.products:
        weight = constants.value(product.node.input[1])
        constants.replace(product.node, 1, _scaled(weight, factors, product.axis))
    for fold in place.folds:
        value = constants.value(fold.node.input[fold.position])
        constants.replace(fold.node, fold.position, _scaled(value, 1 / factors, fold.axis))
    if place.source is None:
        _insert(place, graph, constants, 1 / factors)
    return Spread(_spread(x), _spread(x / factors))


def _rows(product: Product, constants: Constants) -> Array:
    """``max|W_j|`` of one matrix, shape (channels,)."""
    import numpy as np

    weight = constants.value(product.node.input[1])
    largest: Array = np.abs(weight).max(axis=1 - product.axis).astype(np.float64)
    return largest


def _scaled(value: Array, factors: Array, axis: int) -> Array:
    """``value`` times the factors along one of two axes, or along the last one of any number."""
    along = factors[:, None] if axis == 0 else factors
    return (value * along).astype(value.dtype)


def _insert(place: Place, graph: onnx.GraphProto, constants: Constants, inverse: Array) -> None:
    """Puts a Mul between an activation and the products of a place."""
    from onnx import helper

    (tensor,) = place.tensors
    like = constants.value(place.products[0].node.input[1]).dtype
    divided = constants.new_name(f"{INSERTED}{tensor}")
    scale = constants.add(inverse.astype(like), f"{divided}/scale")
    node = helper.make_node("Mul", [tensor, scale], [divided], name=divided)
    for product in place.products:
        product.node.input[0] = divided
    graph.node.insert(_index(graph, place.products[0].node), node)


def _index(graph: onnx.GraphProto, node: onnx.NodeProto) -> int:
    """Where ``node`` stands now; those inserted before it have moved it."""
    return next(i for i, one in enumerate(graph.node) if one.output[:1] == node.output[:1])


def _spread(maxima: Array) -> float:
    import numpy as np

    used = maxima[maxima > 0]
    return float(used.max() / np.median(used)) if len(used) else 1.0

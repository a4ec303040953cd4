"""Where in a graph factors can move from an activation into the weights that it meets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mlopt.passes._constants import Constants, nested

if TYPE_CHECKING:
    import onnx

_NORMS: Mapping[str, tuple[int, ...]] = {
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "SimplifiedLayerNormalization": (1,),
    "SkipLayerNormalization": (2, 3),
    "SkipSimplifiedLayerNormalization": (2,),
}
"""Normalizations of the last axis: the inputs with the scale and, where there is one, the bias."""

_PASSING = frozenset({"Identity", "LeakyRelu", "PRelu", "Relu"})
"""Whose output is multiplied by what their input is multiplied by, each positive number by itself."""

_RESHAPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


class Product(NamedTuple):
    """A matrix product of an activation with constant weights.

    Attributes:
        place: Its number in the graph.
        axis: Of the weight's two axes, the one that meets the activation's channels.
        channels: How many these are.
        outputs: Channels of what it makes.
    """

    node: onnx.NodeProto
    place: int
    axis: int
    channels: int
    outputs: int


class Fold(NamedTuple):
    """A constant that is to be divided by the factors, along ``axis``."""

    node: onnx.NodeProto
    position: int
    axis: int = -1


class Place(NamedTuple):
    """Products whose inputs can be divided by one set of factors.

    Attributes:
        source: Operator that takes the division; None where a Mul has to be inserted.
        order: Its number in the graph. Places are worked on from the back, as a product of one may
            be the source of a later one.
        tensors: The activations, all with the same channels.
    """

    source: str | None
    order: int
    channels: int
    tensors: tuple[str, ...]
    products: tuple[Product, ...]
    folds: tuple[Fold, ...]


class Source(NamedTuple):
    """A node that can take the division of what it makes.

    Attributes:
        normalizes: Whether it is a normalization, or the scale of one.
    """

    channels: int
    folds: tuple[Fold, ...]
    normalizes: bool


class Reached(NamedTuple):
    """What reads an activation, through what lets factors pass.

    Attributes:
        products: In the order of the graph.
        folds: What is to be divided on the way.
        blocked: Whether something else reads it as well, which would see the division.
    """

    products: list[Product]
    folds: list[Fold]
    blocked: bool


class Reader(NamedTuple):
    """A node that reads a tensor, as which input; None for a branch inside of it."""

    node: onnx.NodeProto
    place: int
    position: int | None


class Surveyor:
    """Finds the places of one graph."""

    def __init__(self, graph: onnx.GraphProto, constants: Constants, last: Mapping[str, int]):
        """Looks at a graph.

        Args:
            graph: In topological order.
            constants: Its constants.
            last: The size of the last axis of the tensors for which it is known.
        """
        self._graph, self._constants, self._last = graph, constants, last
        self._outputs = {output.name for output in graph.output}
        self._readers: dict[str, list[Reader]] = defaultdict(list)
        for place, node in enumerate(graph.node):
            for position, name in enumerate(node.input):
                self._readers[name].append(Reader(node, place, position))
            for inner in nested(node):
                read = {name for one in inner.node for name in one.input}
                for name in read | {output.name for output in inner.output}:
                    self._readers[name].append(Reader(node, place, None))
        found = (self._product(node, place) for place, node in enumerate(graph.node))
        self.products = [product for product in found if product is not None]

    def places(self, insert: bool) -> list[Place]:
        """All places, the last one of the graph first.

        Args:
            insert: Also products of what a normalization makes that cannot take the division, since
                others read it too: they get a node of their own for it.
        """
        found: list[Place] = []
        claimed: set[int] = set()
        for order in reversed(range(len(self._graph.node))):
            node = self._graph.node[order]
            source = self._source(node, order)
            if source is None:
                continue
            reached = self._reach(node.output[0], source.channels)
            free = [one for one in reached.products if one.place not in claimed]
            if not free:
                continue
            if len(free) == len(reached.products) and not reached.blocked:
                folds = (*source.folds, *reached.folds)
                found.append(_folded(node.op_type, order, source.channels, free, folds))
            elif insert and source.normalizes:
                found += _inserted(source.channels, free)
            else:
                continue
            claimed |= {product.place for product in free}
        return sorted(found, key=lambda place: -place.order)

    def _product(self, node: onnx.NodeProto, place: int) -> Product | None:
        """``node`` as a product with constant weights of two axes; None when it is none."""
        if node.op_type not in {"MatMul", "Gemm"} or node.domain:
            return None
        dims = self._constants.dims(node.input[1])
        if dims is None or len(dims) != 2 or self._constants.dims(node.input[0]) is not None:
            return None
        attributes = {a.name: a.i for a in node.attribute}
        if attributes.get("transA"):
            return None
        axis = 1 if attributes.get("transB") else 0
        return Product(node, place, axis, dims[axis], dims[1 - axis])

    def _source(self, node: onnx.NodeProto, order: int) -> Source | None:
        """``node`` as one that can take the division of what it makes; None when it cannot."""
        if node.op_type in _NORMS:
            return self._norm(node, _NORMS[node.op_type])
        if (product := self._product(node, order)) is not None:
            folds = [Fold(node, 1, 1 - product.axis)]
            if len(node.input) > 2 and node.input[2]:
                if self._along_channels(node.input[2], product.outputs) is None:
                    return None
                folds.append(Fold(node, 2))
            return Source(product.outputs, tuple(folds), normalizes=False)
        if node.op_type == "Mul":  # the scale of a normalization that was exported in parts, say
            for position, name in enumerate(node.input):
                dims = self._constants.dims(name)
                if dims and dims[-1] > 1 and all(size == 1 for size in dims[:-1]):
                    return Source(dims[-1], (Fold(node, position),), normalizes=True)
        return None

    def _norm(self, node: onnx.NodeProto, positions: tuple[int, ...]) -> Source | None:
        present = [p for p in positions if p < len(node.input) and node.input[p]]
        dims = [self._constants.dims(node.input[p]) for p in present]
        if not dims or dims[0] is None or len(dims[0]) != 1 or any(d != dims[0] for d in dims):
            return None
        return Source(dims[0][0], tuple(Fold(node, p) for p in present), normalizes=True)

    def _reach(self, output: str, channels: int) -> Reached:
        """All that reads a tensor, through what lets factors pass."""
        products: list[Product] = []
        folds: list[Fold] = []
        blocked = False
        waiting, seen = [output], {output}
        while waiting:
            tensor = waiting.pop()
            blocked |= tensor in self._outputs
            for reader in self._readers[tensor]:
                product = self._product(reader.node, reader.place)
                if product is not None and reader.position == 0 and product.channels == channels:
                    products.append(product)
                    continue
                passed = self._pass(reader, channels)
                if passed is None:
                    blocked = True
                    continue
                folds += passed
                waiting += [o for o in reader.node.output[:1] if o not in seen]
                seen.update(reader.node.output)
        products.sort(key=lambda product: product.place)
        return Reached(products, folds, blocked)

    def _pass(self, reader: Reader, channels: int) -> list[Fold] | None:
        """What is to be divided for factors to pass a node; None where they cannot."""
        node, position = reader.node, reader.position
        kind = node.op_type
        if kind in _PASSING:
            return [] if position == 0 else None
        if kind == "Transpose":
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
            return [] if order and order[-1] == len(order) - 1 else None
        if kind in _RESHAPING:
            sizes = {self._last.get(node.input[0]), self._last.get(node.output[0])}
            return [] if position == 0 and sizes == {channels} else None
        if kind in {"Add", "Sub", "Mul"} and position is not None:
            other = 1 - position
            if self._along_channels(node.input[other], channels) is None:
                return None
            return [] if kind == "Mul" else [Fold(node, other)]
        return None

    def _along_channels(self, name: str, channels: int) -> tuple[int, ...] | None:
        """The shape of a constant that is broadcast along the channels; None for another tensor."""
        dims = self._constants.dims(name)
        if dims is None or (dims and dims[-1] not in {1, channels}):
            return None
        return dims


def _folded(
    source: str, order: int, channels: int, products: list[Product], folds: tuple[Fold, ...]
) -> Place:
    tensors = tuple(dict.fromkeys(product.node.input[0] for product in products))
    return Place(source, order, channels, tensors, tuple(products), folds)


def _inserted(channels: int, products: list[Product]) -> Iterator[Place]:
    """A place for each activation that some of ``products`` read."""
    readers: dict[str, list[Product]] = defaultdict(list)
    for product in products:
        readers[product.node.input[0]].append(product)
    for tensor, those in readers.items():
        yield Place(None, those[0].place, channels, (tensor,), tuple(those), ())


def last_sizes(model: onnx.ModelProto) -> dict[str, int]:
    """The size of the last axis of every tensor for which shape inference finds it."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[-1].HasField("dim_value"):
            found[value.name] = dims[-1].dim_value
    return found

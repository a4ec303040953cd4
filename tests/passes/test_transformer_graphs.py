"""What is read off a graph about the transformer that it was exported from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mlopt.passes._transformers import Heads, find_heads, is_transformer


def graph(nodes: Sequence[tuple[str, str, str]], **constants: Any) -> onnx.GraphProto:
    """Nodes as (operator, inputs, outputs), names apart by a space."""
    made = [helper.make_node(kind, i.split(), o.split()) for kind, i, o in nodes]
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    return helper.make_graph(made, "g", [], [], tensors)


ATTENTION = [
    ("MatMul", "q k", "a"),
    ("Div", "a root", "b"),
    ("Add", "b mask", "c"),
    ("Softmax", "c", "d"),
    ("Dropout", "d", "e"),
    ("MatMul", "e v", "f"),
]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (ATTENTION, True),
        ([("MatMul", "q k", "a"), ("Softmax", "a", "b"), ("MatMul", "b v", "c")], True),
        ([("LayerNormalization", "x w b", "y")], True),
        ([("SkipLayerNormalization", "x y w b", "z")], True),
        ([("Conv", "x w", "y"), ("Relu", "y", "z")], False),
        # a classifier that ends with its probabilities
        ([("MatMul", "x w", "y"), ("Softmax", "y", "z")], False),
        # a Softmax that only weighs: squeeze and excitation
        ([("Conv", "x w", "y"), ("Softmax", "y", "z"), ("Mul", "z x", "u")], False),
        # products on both sides, with a layer between
        (
            [
                ("MatMul", "x w", "a"),
                ("Relu", "a", "b"),
                ("Softmax", "b", "c"),
                ("MatMul", "c u", "d"),
            ],
            False,
        ),
    ],
)
def test_a_transformer_normalizes_or_attends(
    nodes: list[tuple[str, str, str]], expected: bool
) -> None:
    assert is_transformer(graph(nodes)) is expected


def test_heads_are_read_off_a_constant_shape() -> None:
    divided = graph([("Reshape", "x shape", "y")], shape=np.array([0, -1, 12, 64]))

    assert find_heads(divided) == Heads(12, 768)


def test_heads_are_read_off_a_shape_that_is_put_together() -> None:
    divided = graph(
        [("Concat", "batch length n d", "shape"), ("Reshape", "x shape", "y")],
        n=np.array([4]),
        d=np.array([16]),
    )

    assert find_heads(divided) == Heads(4, 64)


def test_what_most_reshapes_say_counts() -> None:
    nodes = [("Reshape", f"x{i} shape", f"y{i}") for i in range(3)]
    divided = graph(
        [*nodes, ("Reshape", "image patches", "z")],
        shape=np.array([0, 0, 2, 8]),
        patches=np.array([1, 3, 16, 16]),
    )

    assert find_heads(divided) == Heads(2, 16)


@pytest.mark.parametrize("shape", [[0, 0, -1, 8], [0, 0, 16], [0, 0, 1, 16], [2, 3, 2, 8, 4]])
def test_other_shapes_divide_no_heads(shape: list[int]) -> None:
    assert find_heads(graph([("Reshape", "x shape", "y")], shape=np.array(shape))) is None

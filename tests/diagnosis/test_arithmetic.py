"""Multiply-accumulates from shapes, against counts by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_graphs import Tiny

from mlopt.diagnosis.arithmetic import macs_of
from mlopt.diagnosis.expected import expected_work

S = ()
"""A scale."""


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "attributes", "macs"),
    [
        ("Conv", [(1, 3, 8, 8), (16, 3, 3, 3)], (1, 16, 8, 8), {}, 16 * 64 * 27),
        ("Conv", [(1, 16, 8, 8), (16, 1, 3, 3)], (1, 16, 8, 8), {"group": 16}, 16 * 64 * 9),
        ("QLinearConv", [(1, 3, 8, 8), S, S, (16, 3, 3, 3)], (1, 16, 8, 8), {}, 16 * 64 * 27),
        ("ConvTranspose", [(1, 3, 4, 4), (3, 8, 2, 2)], (1, 8, 8, 8), {}, 3 * 16 * 8 * 4),
        ("MatMul", [(2, 5, 7), (7, 3)], (2, 5, 3), {}, 2 * 5 * 3 * 7),
        ("MatMulIntegerToFloat", [(5, 7), None], (5, 3), {}, 5 * 3 * 7),
        ("QLinearMatMul", [(5, 7), S, S, (7, 3)], (5, 3), {}, 5 * 3 * 7),
        ("Gemm", [(7, 5), (7, 3)], (5, 3), {"transA": 1}, 5 * 3 * 7),
        ("MatMulNBits", [None], (5, 3), {"K": 7}, 5 * 3 * 7),
        ("Attention", [(1, 6, 8), (8, 24)], (1, 6, 8), {}, 6 * 8 * 24 + 2 * 6 * 6 * 8),
        ("MultiHeadAttention", [(1, 6, 8), (1, 4, 8)], (1, 6, 8), {}, 2 * 6 * 4 * 8),
        ("LSTM", [(9, 1, 4), (1, 32, 4), (1, 32, 8)], (9, 1, 1, 8), {}, 9 * 32 * (4 + 8)),
        ("Relu", [(1, 8)], (1, 8), {}, None),
        ("Conv", [(1, 3, 8, 8), None], (1, 16, 8, 8), {}, None),
        ("MatMul", [None, (7, 3)], (5, 3), {}, None),
    ],
)
def test_a_product_is_counted(operator, inputs, output, attributes, macs) -> None:
    assert macs_of(operator, inputs, [output], attributes) == macs


def dynamic_product(t: Tiny) -> str:
    """A product behind a Reshape to a shape that is computed from that of the input."""
    x = t.input("x", ("batch", 4, 6))
    shape = t.node("Shape", x)
    batch = t.node("Slice", shape, t.constant(np.array([0])), t.constant(np.array([1])))
    rows = t.node("Concat", batch, t.constant(np.array([24])), axis=0)
    return t.node("Reshape", x, rows)


def test_the_work_of_a_file_is_counted_for_the_inputs_at_hand(tmp_path: Path) -> None:
    t = Tiny()
    y = t.node("MatMul", dynamic_product(t), t.constant(np.ones((24, 10), np.float32)))
    onnx.save(t.model(y, rank=2), tmp_path / "model.onnx")

    found = expected_work(tmp_path / "model.onnx", {"x": (3, 4, 6)})

    assert (found.macs, found.unknown) == ({"float": 3 * 24 * 10}, 0)
    assert found.bytes_moved >= 24 * 10 * 4


def test_a_product_of_dequantized_factors_counts_as_int8(tmp_path: Path) -> None:
    t = Tiny()
    y = t.node("MatMul", t.pair(t.input("x", (2, 8))), t.weight(8, 3))
    onnx.save(t.model(y, rank=2), tmp_path / "model.onnx")

    assert expected_work(tmp_path / "model.onnx", {"x": (2, 8)}).macs == {"int8": 2 * 8 * 3}


def test_products_of_unknown_shape_are_counted_as_unknown(tmp_path: Path) -> None:
    custom = helper.make_node("Strange", ["x"], ["s"], domain="somewhere.else")
    product = helper.make_node("MatMul", ["s", "s"], ["y"])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("somewhere.else", 1)]
    graph = helper.make_graph([custom, product], "tiny", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "model.onnx")

    found = expected_work(tmp_path / "model.onnx", {})

    assert (found.macs, found.unknown) == ({}, 1)

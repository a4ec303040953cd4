"""Static INT8 for products alone: everything else keeps its floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx_bench import (
    Node,
    answers,
    artifact_of,
    facts,
    graph_of,
    model_of,
    nodes_of,
    normal,
)
from pass_bench import Bench

from mlopt.passes._products import products_of_activations, restore_float_readers

CHANNELS = 16
TOKENS = ("batch", 6, CHANNELS)

BLOCK: list[Node] = [
    ("LayerNormalization", "x g", "h"),
    ("MatMul", "h w", "q"),
    ("MatMul", "h u", "k"),
    ("Transpose", "k", "kt", {"perm": [0, 2, 1]}),
    ("MatMul", "q kt", "scores"),
    ("Softmax", "scores", "p"),
    ("MatMul", "p h", "a"),
    ("Add", "a h", "y"),
]
WEIGHTS = {
    "g": np.linspace(0.1, 30, CHANNELS, dtype=np.float32),
    "w": normal(1, CHANNELS, CHANNELS) / 40,
    "u": normal(2, CHANNELS, CHANNELS) / 40,
}

PAIR = [("QuantizeLinear", "{} s z", "{}q"), ("DequantizeLinear", "{}q s z", "{}d")]
SCALE = {"s": np.float32(0.1), "z": np.int8(0), "w8": np.ones((4, 4), np.int8)}


def pair(tensor: str) -> list[Node]:
    return [(kind, i.format(tensor), o.format(tensor)) for kind, i, o in PAIR]


def write(path: Path, nodes: list[Node]) -> Path:
    onnx.save(model_of(graph_of(nodes, ("batch", 4), **SCALE)), path)
    return path


def inputs(path: Path) -> dict[str, list[str]]:
    return {node.name: list(node.input) for node in onnx.load(path).graph.node}


def test_a_sum_gets_the_floats_back_and_a_product_keeps_its_pair(tmp_path: Path) -> None:
    nodes: list[Node] = [
        *pair("x"),
        ("DequantizeLinear", "w8 s z", "w"),
        ("MatMul", "xd w", "m"),
        ("Add", "m xd", "y"),
    ]
    path = write(tmp_path / "m.onnx", nodes)
    restore_float_readers(path)

    assert inputs(path)["MatMul_3"] == ["xd", "w"]
    assert inputs(path)["Add_4"] == ["m", "x"]


def test_what_a_convolution_writes_in_8_bits_stays_in_8_bits(tmp_path: Path) -> None:
    nodes: list[Node] = [("Conv", "x w8", "c"), *pair("c"), ("Relu", "cd", "y")]
    path = write(tmp_path / "m.onnx", nodes)
    restore_float_readers(path)

    assert inputs(path)["Relu_3"] == ["cd"]


def test_products_of_two_activations_are_found_by_their_inputs(tmp_path: Path) -> None:
    nodes: list[Node] = [("MatMul", "x w8", "a"), ("MatMul", "a x", "y")]

    assert products_of_activations(write(tmp_path / "m.onnx", nodes)) == ["MatMul_1"]


def test_in_a_transformer_products_with_weights_are_in_8_bits_and_no_others(
    bench: Bench,
) -> None:
    source = artifact_of(bench, model_of(graph_of(BLOCK, TOKENS, **WEIGHTS)))
    products = bench.apply("int8_static", source)
    everything = bench.apply("int8_static", source, operators="all")

    assert (facts(products)["operators"], facts(everything)["operators"]) == ("products", "all")
    assert facts(products)["quantized"] == {"MatMul": 2}
    assert facts(products)["left_in_float"] == {"MatMul": 2}
    assert nodes_of(products)["Add_7"].input[1] == "h"
    x = normal(9, 20, *TOKENS[1:])
    (wanted,), (close,), (far,) = (answers(one, x) for one in (source, products, everything))
    assert 0 < np.abs(close - wanted).mean() < 0.5 * np.abs(far - wanted).mean()


def test_without_products_of_activations_all_that_can_be_is_in_8_bits(bench: Bench) -> None:
    nodes: list[Node] = [("MatMul", "x w", "a"), ("Add", "a x", "y")]
    source = artifact_of(bench, model_of(graph_of(nodes, TOKENS, w=WEIGHTS["w"])))

    quantized = bench.apply("int8_static", source)

    assert facts(quantized)["operators"] == "all"
    assert {"a", "x"}.isdisjoint(nodes_of(quantized)["Add_1"].input)

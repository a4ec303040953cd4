"""SmoothQuant: the answers stay, the outliers go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_bench import (
    Array,
    Node,
    answers,
    artifact_of,
    constants_of,
    facts,
    graph_of,
    model_of,
    nodes_of,
    normal,
)
from pass_bench import Bench

from mlopt.errors import BuildError
from mlopt.passes._smoothing import INSERTED
from mlopt.passes._smoothing.maxima import channel_maxima
from mlopt.passes._smoothing.smoothing import smoothing_factors

CHANNELS = 8
OUTLIER = 3
TOKENS = ("batch", 6, CHANNELS)
ROWS = ("batch", CHANNELS)

SCALE = np.ones(CHANNELS, np.float32)
SCALE[OUTLIER] = 60
BIAS = np.linspace(-1, 1, CHANNELS, dtype=np.float32)
W, U, V = (normal(seed, CHANNELS, CHANNELS) for seed in (5, 6, 7))

NORM: Node = ("LayerNormalization", "x g b", "h")

THREE_READ_ONE: list[Node] = [
    NORM,
    ("Transpose", "w", "wt", {"perm": [1, 0]}),
    ("MatMul", "h wt", "q0"),
    ("Add", "q0 b", "q"),
    ("MatMul", "h u", "k"),
    ("MatMul", "h v", "y1"),
    ("Mul", "q k", "y2"),
]

IN_PARTS: list[Node] = [
    ("ReduceMean", "x", "mean", {"axes": [-1]}),
    ("Sub", "x mean", "centred"),
    ("Pow", "centred two", "squares"),
    ("ReduceMean", "squares", "variance", {"axes": [-1]}),
    ("Add", "variance epsilon", "positive"),
    ("Sqrt", "positive", "deviation"),
    ("Div", "centred deviation", "normalized"),
    ("Mul", "normalized g", "scaled"),
    ("Add", "scaled b", "h"),
    ("MatMul", "h w", "y"),
]

BEHIND_A_LAYER: list[Node] = [
    ("Gemm", "x a c", "first", {"transB": 1, "alpha": 0.5}),
    ("Relu", "first", "h"),
    ("Gemm", "h w b", "second", {"transB": 1, "beta": 2.0}),
    ("LeakyRelu", "second", "third"),
    ("MatMul", "third u", "y"),
]

BEHIND_A_RESHAPE: list[Node] = [
    NORM,
    ("Reshape", "h flat", "rows"),
    ("Gemm", "rows w b", "y"),
]

WITHOUT_BIAS: list[Node] = [("LayerNormalization", "x g", "h"), ("MatMul", "h w", "y")]

WIDE = normal(8, CHANNELS, CHANNELS)
WIDE[OUTLIER] *= 60

CONSTANTS = {
    "w": W, "u": U, "v": V, "g": SCALE, "b": BIAS, "a": WIDE, "c": BIAS,
    "two": np.float32(2), "epsilon": np.float32(1e-5), "flat": np.array([-1, CHANNELS]),
}  # fmt: skip


def model(nodes: list[Node], shape: tuple[Any, ...] = TOKENS, opset: int = 18) -> onnx.ModelProto:
    read = {name for _, inputs, *_ in nodes for name in inputs.split()}
    used = {name: value for name, value in CONSTANTS.items() if name in read}
    return model_of(graph_of(nodes, shape, **used), opset)


def examples(shape: tuple[Any, ...], count: int = 20, seed: int = 99) -> Array:
    return normal(seed, count, *shape[1:])


def assert_same(found: list[Array], wanted: list[Array]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize(
    ("nodes", "shape", "opset", "divided_in", "products", "left"),
    [
        (THREE_READ_ONE, TOKENS, 18, {"LayerNormalization": 1}, 3, None),
        (WITHOUT_BIAS, TOKENS, 18, {"LayerNormalization": 1}, 1, None),
        (IN_PARTS, TOKENS, 13, {"Mul": 1}, 1, None),
        (BEHIND_A_LAYER, ROWS, 18, {"Gemm": 2}, 2, 1),
        (BEHIND_A_RESHAPE, TOKENS, 18, {"LayerNormalization": 1}, 1, None),
    ],
    ids=["three read one", "no bias", "in parts", "behind layers", "behind a reshape"],
)
def test_the_answers_stay_and_the_outlier_shrinks(
    bench: Bench,
    tmp_path: Path,
    nodes: list[Node],
    shape: tuple[Any, ...],
    opset: int,
    divided_in: dict[str, int],
    products: int,
    left: int | None,
) -> None:
    source = artifact_of(bench, model(nodes, shape, opset))
    smoothed = bench.apply("smooth_quant", source)

    found = facts(smoothed)
    assert found["divided_in"] == divided_in
    assert found["smoothed_products"] == products
    assert found.get("products_left_as_they_were") == left
    assert found["calibration_examples"] == 40
    assert found["parity_largest_error"] < 1e-5
    assert found["largest_channel_over_median_after"] < (
        0.6 * found["largest_channel_over_median_before"]
    )
    x = examples(shape)
    assert_same(answers(smoothed, x), answers(source, x))
    before, after = (
        channel_maxima(one.main_file, {"h": CHANNELS}, [{"x": x}], tmp_path, 0)["h"]
        for one in (source, smoothed)
    )
    stands_out = before[OUTLIER] / np.median(before)
    assert stands_out > 10
    assert after[OUTLIER] / np.median(after) < 0.4 * stands_out


def test_what_several_share_is_changed_for_each_and_for_nobody_else(bench: Bench) -> None:
    nodes: list[Node] = [
        ("LayerNormalization", "x g b", "h1"),
        ("Mul", "x x", "x2"),
        ("LayerNormalization", "x2 g b", "h2"),
        ("MatMul", "h1 w", "y1"),
        ("MatMul", "h1 w", "y2"),
        ("MatMul", "h2 w", "y3"),
        ("MatMul", "x2 w", "y4"),
        ("Add", "x g", "y5"),
    ]
    source = artifact_of(bench, model(nodes))
    smoothed = bench.apply("smooth_quant", source)

    assert facts(smoothed)["smoothed_products"] == 3
    assert facts(smoothed)["products_left_as_they_were"] == 1
    assert_same(answers(smoothed, examples(TOKENS)), answers(source, examples(TOKENS)))
    constants = constants_of(smoothed)
    np.testing.assert_array_equal(constants[nodes_of(smoothed)["MatMul_6"].input[1]], W)


def test_a_weight_that_also_is_an_answer_is_copied(bench: Bench) -> None:
    nodes: list[Node] = [NORM, ("MatMul", "h w", "y1"), ("Identity", "w", "y2")]
    source = artifact_of(bench, model(nodes))
    smoothed = bench.apply("smooth_quant", source)

    _, weight = answers(smoothed, examples(TOKENS))
    np.testing.assert_array_equal(weight, W)
    assert_same(answers(smoothed, examples(TOKENS)), answers(source, examples(TOKENS)))


POST_NORM: list[Node] = [
    NORM,
    ("MatMul", "h w", "m"),
    ("MatMul", "h u", "n"),
    ("Mul", "m n", "o"),
    ("Add", "o h", "y"),
]


def test_an_activation_that_others_read_needs_a_node_of_its_own(bench: Bench) -> None:
    source = artifact_of(bench, model(POST_NORM))
    with pytest.raises(
        BuildError, match=r"none of the 2 products .*'insert_mul: true' puts a node"
    ):
        bench.apply("smooth_quant", source)

    smoothed = bench.apply("smooth_quant", source, insert_mul=True)

    assert facts(smoothed)["divided_in"] == {"a new Mul": 1}
    assert_same(answers(smoothed, examples(TOKENS)), answers(source, examples(TOKENS)))
    assert len(nodes_of(smoothed)) == len(POST_NORM) + 1


def test_a_node_that_was_inserted_stays_in_float(bench: Bench) -> None:
    smoothed = bench.apply("smooth_quant", artifact_of(bench, model(POST_NORM)), insert_mul=True)
    quantized = bench.apply("int8_static", smoothed, operators="products")

    nodes = nodes_of(quantized)
    made_by = {output: node.op_type for node in nodes.values() for output in node.output}
    (inserted,) = (
        node for name, node in nodes.items() if name.startswith(INSERTED) and node.op_type == "Mul"
    )
    assert made_by[inserted.input[0]] == "LayerNormalization"
    assert facts(quantized)["quantized"] == {"MatMul": 2}


def test_what_a_branch_reads_is_not_divided(bench: Bench) -> None:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["h"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    both = {"then_branch": branch, "else_branch": branch}
    nodes: list[Node] = [NORM, ("MatMul", "h w", "y1"), ("If", "yes", "y2", both)]
    graph = graph_of(nodes, TOKENS, g=SCALE, b=BIAS, w=W, yes=np.array(True))

    with pytest.raises(BuildError, match="none of the 1 products"):
        bench.apply("smooth_quant", artifact_of(bench, model_of(graph)))


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([("Relu", "x", "y")], r"there is nothing to smooth \(it has Relu\)"),
        ([("MatMul", "x w", "y")], "none of the 1 products with constant weights"),
        # the Gelu between two layers passes no factor, nor does a Softmax
        ([("MatMul", "x w", "h"), ("Softmax", "h", "p"), ("MatMul", "p u", "y")], "none of the 2"),
        # the activation is an answer itself
        ([("LayerNormalization", "x g b", "yh"), ("MatMul", "yh w", "y")], "none of the 1"),
    ],
)
def test_a_model_without_a_place_is_refused(bench: Bench, nodes: list[Node], reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        bench.apply("smooth_quant", artifact_of(bench, model(nodes)))


@pytest.mark.parametrize(
    ("quantizer", "options"), [("int8_static", {"operators": "products"}), ("int8_dynamic", {})]
)
def test_int8_is_more_accurate_behind_it_where_a_channel_stands_out(
    bench: Bench, quantizer: str, options: dict[str, Any]
) -> None:
    channels = 64
    scale, weight = np.ones(channels, np.float32), normal(1, channels, 32)
    scale[OUTLIER] = 100
    weight[OUTLIER] /= 100  # as a trained network has it
    nodes: list[Node] = [("LayerNormalization", "x g", "h"), ("MatMul", "h w", "y")]
    shape = ("batch", 6, channels)
    source = artifact_of(bench, model_of(graph_of(nodes, shape, g=scale, w=weight)))
    x = examples(shape)
    (wanted,) = answers(source, x)

    plain = bench.apply(quantizer, source, **options)
    smoothed = bench.apply(quantizer, bench.apply("smooth_quant", source), **options)

    def error(one: Any) -> float:
        return float(np.abs(answers(one, x)[0] - wanted).mean())

    assert 0 < error(smoothed) < 0.4 * error(plain)


def test_the_factors_are_those_of_the_paper_and_dead_channels_keep_their_scale() -> None:
    activations, weights = np.array([16.0, 4.0, 0.0, 2.0]), np.array([4.0, 1.0, 3.0, 0.0])

    np.testing.assert_allclose(smoothing_factors(activations, weights, 0.5), [2, 2, 1, 1])
    np.testing.assert_allclose(smoothing_factors(activations, weights, 1.0), [16, 4, 1, 1])
    np.testing.assert_allclose(smoothing_factors(activations, weights, 0.0), [0.25, 1, 1, 1])


@pytest.mark.parametrize("opset", [13, 18])
def test_maxima_are_those_of_all_batches(tmp_path: Path, opset: int) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model([("Relu", "x", "h"), ("MatMul", "h w", "y")], opset=opset), path)
    x = examples(TOKENS)
    batches = [{"x": x[:7]}, {"x": x[7:]}]

    found = channel_maxima(path, {"h": CHANNELS, "x": CHANNELS}, batches, tmp_path, 0)

    np.testing.assert_array_equal(found["x"], np.abs(x).max(axis=(0, 1)))
    np.testing.assert_array_equal(found["h"], x.max(axis=(0, 1)).clip(min=0))

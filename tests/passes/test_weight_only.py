"""Weights in 4 and 8 bits."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnx
import pytest
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
from mlopt.passes import PASSES

INPUTS, OUTPUTS, BLOCK = 64, 48, 32
ROWS = ("batch", INPUTS)
TOKENS = ("batch", 5, INPUTS)
W = normal(1, INPUTS, OUTPUTS)
BIAS = normal(2, OUTPUTS)
IN_FLOAT = {"accuracy_level": 1}

FORMS: dict[str, tuple[list[Node], tuple[Any, ...], dict[str, Array]]] = {
    "MatMul": ([("MatMul", "x w", "y")], TOKENS, {"w": W}),
    "MatMul behind a Transpose": (
        [("Transpose", "w", "t"), ("MatMul", "x t", "y")], TOKENS, {"w": W.T.copy()},
    ),
    "Gemm": (
        [("Gemm", "x w b", "y", {"transB": 1, "alpha": 2.0, "beta": 0.5})],
        ROWS,
        {"w": W.T.copy() / 2, "b": BIAS},
    ),
    "Gemm without a bias": ([("Gemm", "x w", "y")], ROWS, {"w": W}),
}  # fmt: skip


def of(bench: Bench, form: str) -> Any:
    nodes, shape, constants = FORMS[form]
    return artifact_of(bench, model_of(graph_of(nodes, shape, **constants)))


def weights_of(artifact: Any, form: str) -> Array:
    """What the model multiplies by, as it answers to the rows of the identity."""
    shape = FORMS[form][1]
    rows = np.eye(INPUTS, dtype=np.float32)
    x = np.broadcast_to(rows[:, None], (INPUTS, *shape[1:])) if len(shape) == 3 else rows
    zero = np.zeros((1, *shape[1:]), np.float32)
    (found,), (offset,) = answers(artifact, np.ascontiguousarray(x)), answers(artifact, zero)
    difference: Array = found - offset
    return difference[:, 0] if len(shape) == 3 else difference


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [4, 8])
def test_a_weight_is_off_by_less_than_a_step_of_its_block(
    bench: Bench, form: str, bits: int
) -> None:
    source = of(bench, form)
    quantized = bench.apply("weight_only", source, bits=bits, **IN_FLOAT)

    blocks = np.abs(W).reshape(-1, BLOCK, OUTPUTS)
    steps = np.repeat(blocks.max(axis=1) / 2 ** (bits - 1), BLOCK, axis=0)
    error = np.abs(weights_of(quantized, form) - W)
    assert error.max() > 0
    assert (error <= steps * 1.001 + 1e-5).all()
    assert facts(quantized)["quantized"] == {"MatMulNBits": 1}
    assert facts(quantized)[f"share_of_weights_in_{bits}_bits"] == 1.0
    assert "left_in_float" not in facts(quantized)
    zero = np.zeros((2, *FORMS[form][1][1:]), np.float32)
    np.testing.assert_allclose(answers(quantized, zero), answers(source, zero), atol=1e-6)


def test_zero_points_are_closer_for_weights_that_are_not_centred(bench: Bench) -> None:
    off_centre = np.abs(W) + 1
    source = artifact_of(bench, model_of(graph_of([("MatMul", "x w", "y")], TOKENS, w=off_centre)))
    errors = [
        np.abs(
            weights_of(bench.apply("weight_only", source, symmetric=one, **IN_FLOAT), "MatMul")
            - off_centre
        ).mean()
        for one in (True, False)
    ]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize(("bits", "share"), [(4, 0.17), (8, 0.30)])
def test_the_file_shrinks_to_the_bits_and_the_scales(bench: Bench, bits: int, share: float) -> None:
    model = model_of(graph_of([("MatMul", "x w", "y")], TOKENS, w=normal(1, INPUTS, 1024)))
    source = artifact_of(bench, model)
    quantized = bench.apply("weight_only", source, bits=bits)

    assert quantized.manifest.size_bytes < share * source.manifest.size_bytes


def test_smaller_blocks_are_more_accurate(bench: Bench) -> None:
    source = of(bench, "MatMul")
    errors = [
        np.abs(
            weights_of(bench.apply("weight_only", source, block_size=size, **IN_FLOAT), "MatMul")
            - W
        ).mean()
        for size in (16, 64)
    ]
    assert errors[0] < errors[1]


def test_products_with_one_weight_share_it_afterwards(bench: Bench) -> None:
    nodes: list[Node] = [
        ("Gemm", "x w", "h1", {"transB": 1}),
        ("Mul", "x x", "x2"),
        ("Gemm", "x2 w", "h2", {"transB": 1}),
        ("Add", "h1 h2", "y"),
    ]
    source = artifact_of(bench, model_of(graph_of(nodes, ROWS, w=W.T.copy())))
    quantized = bench.apply("weight_only", source, bits=8, **IN_FLOAT)

    assert facts(quantized)["quantized"] == {"MatMulNBits": 2}
    packed = [array for array in constants_of(quantized).values() if array.dtype == np.uint8]
    assert len(packed) == 1
    x = normal(9, 4, INPUTS)
    (found,), (wanted,) = answers(quantized, x), answers(source, x)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_nodes_that_are_excluded_stay_as_they_were(bench: Bench) -> None:
    nodes: list[Node] = [
        ("Gemm", "x w b", "h"), ("Relu", "h", "r"), ("Gemm", "r u", "s"), ("MatMul", "s v", "y"),
    ]  # fmt: skip
    weights = {"w": W, "b": BIAS, "u": normal(3, OUTPUTS, 32), "v": normal(4, 32, 16)}
    source = artifact_of(bench, model_of(graph_of(nodes, ROWS, **weights)))

    quantized = bench.apply("weight_only", source, exclude=["Gemm_0", "MatMul_3"])

    kinds = {name: node.op_type for name, node in nodes_of(quantized).items()}
    assert kinds["Gemm_0"] == "Gemm"
    assert kinds["MatMul_3"] == "MatMul"
    assert facts(quantized)["quantized"] == {"MatMulNBits": 1}
    assert facts(quantized)["left_in_float"] == {"Gemm": 1, "MatMul": 1}
    share = facts(quantized)["share_of_weights_in_4_bits"]
    assert share == pytest.approx(32 * 48 / (64 * 48 + 32 * 48 + 32 * 16), abs=0.001)


@pytest.mark.parametrize(
    ("nodes", "options"),
    [
        ([("Relu", "x", "y")], {}),
        ([("Transpose", "x", "t"), ("MatMul", "t x", "y")], {}),
        ([("MatMul", "x w", "y")], {"exclude": ["MatMul_0"]}),
    ],
)
def test_a_graph_without_constant_weights_is_refused(
    bench: Bench, nodes: list[Node], options: dict[str, Any]
) -> None:
    constants = {"w": W} if any("w" in inputs for _, inputs, *_ in nodes) else {}
    source = artifact_of(bench, model_of(graph_of(nodes, ROWS, **constants)))

    with pytest.raises(BuildError, match=rf"nothing to quantize \(the graph has .*{nodes[0][0]}"):
        bench.apply("weight_only", source, **options)


def test_weights_of_64_bits_are_left(bench: Bench) -> None:
    nodes: list[Node] = [
        ("MatMul", "x w", "y1"),
        ("Cast", "x", "wide", {"to": onnx.TensorProto.DOUBLE}),
        ("MatMul", "wide d", "m"),
        ("Cast", "m", "y2", {"to": onnx.TensorProto.FLOAT}),
    ]
    graph = graph_of(nodes, ROWS, w=W, d=W.astype(np.float64))
    quantized = bench.apply("weight_only", artifact_of(bench, model_of(graph)))

    assert facts(quantized)["left_in_float"] == {"MatMul": 1}


@pytest.mark.parametrize(
    ("flags", "level"),
    [({"sse4_1", "avx"}, 1), ({"avx2"}, 4), ({"asimd"}, 1), ({"asimd", "asimddp"}, 4)],
)
def test_the_accuracy_level_follows_the_kernels_of_the_processor(
    flags: set[str], level: int
) -> None:
    auto = PASSES["weight_only"]().resolve(frozenset(flags))
    stated = PASSES["weight_only"].model_validate({"accuracy_level": 2}).resolve(frozenset(flags))

    assert auto.model_dump()["accuracy_level"] == level
    assert stated.model_dump()["accuracy_level"] == 2


def test_the_quantizer_leaves_the_logging_of_the_process_alone(bench: Bench) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    bench.apply("weight_only", of(bench, "MatMul"))

    assert (root.level, list(root.handlers)) == before

"""Whether this very file can saturate, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_graphs import SIGNED, Tiny, optimized

from mlopt.diagnosis.graph import Graph
from mlopt.diagnosis.saturation import portability


def product(largest: int, kind: type = np.int8, zero: np.generic | None = None) -> Graph:
    t = Tiny()
    x = t.pair(t.input("x", (2, 8)), 0.1, np.uint8(128) if zero is None else zero)
    y = t.node("MatMul", x, t.weight(8, 4, largest=largest, kind=kind))
    return Graph(t.model(t.pair(y), rank=2), Path())


@pytest.mark.parametrize(("largest", "can"), [(64, 0), (65, 1), (127, 1)])
def test_weights_beyond_64_can_saturate(largest: int, can: int) -> None:
    found = portability(product(largest), is_x86=True, exact=True, how="avx512_vnni")

    assert found is not None
    assert (found.products, found.unsigned_by_signed, found.can_saturate) == (1, 1, can)
    assert found.largest_weight == largest


def test_the_bound_is_where_two_products_leave_16_bits() -> None:
    assert 2 * 64 * 255 <= np.iinfo(np.int16).max < 2 * 65 * 255


@pytest.mark.parametrize(
    ("is_x86", "exact", "words"),
    [
        (True, True, "correct here because of avx512_vnni; on an x86 without VNNI"),
        (True, False, "can saturate here, which changes the answers: use reduce_range"),
        (True, None, "cannot be read"),
        (False, None, "correct here, where products are added in 32 bits"),
    ],
)
def test_the_verdict_names_this_processor_and_others(
    is_x86: bool, exact: bool | None, words: str
) -> None:
    found = portability(product(127), is_x86=is_x86, exact=exact, how="avx512_vnni")

    assert found is not None
    assert words in found.verdict
    assert "1 of 1 products" in found.verdict
    assert "reduce_range" in found.verdict


def test_weights_of_seven_bits_are_safe_everywhere() -> None:
    found = portability(product(63), is_x86=True, exact=False)

    assert found is not None
    assert "no product saturates" in found.verdict


@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, None), (np.int8, SIGNED)])
def test_factors_of_one_signedness_do_not_saturate(kind: type, zero: np.generic | None) -> None:
    found = portability(product(127, kind, zero), is_x86=True, exact=False)

    assert found is not None
    assert (found.unsigned_by_signed, found.largest_weight) == (0, None)
    assert "nothing saturates" in found.verdict


def test_the_products_that_the_runtime_makes_are_recognized(tmp_path: Path) -> None:
    t = Tiny()
    y = t.node("Conv", t.pair(t.input("x", (1, 4, 8, 8))), t.weight(4, 4, 3, 3))
    y = t.node("Reshape", t.pair(y), t.constant(np.array([1, -1])))
    y = t.node("MatMul", t.pair(y), t.weight(144, 4, largest=60))
    graph = optimized(t.model(y, rank=2), tmp_path)

    found = portability(graph, is_x86=True, exact=True)

    assert found is not None
    assert (found.products, found.unsigned_by_signed, found.can_saturate) == (2, 2, 1)


def test_weights_scaled_at_run_time_are_signed_beside_unsigned_activations() -> None:
    t = Tiny()
    t.node("DynamicQuantizeLinear", t.input("x", (2, 8)))
    t.nodes[0].output[:] = ["q", "scale", "zero"]
    weight = t.constant(np.full((8, 4), -128, np.int8))
    y = t.node("MatMulInteger", "q", weight, "zero", t.constant(SIGNED))
    found = portability(Graph(t.model(y, kind=6, rank=2), Path()), is_x86=True, exact=True)

    assert found is not None
    assert (found.can_saturate, found.largest_weight) == (1, 128)


def test_a_float_model_has_nothing_to_saturate() -> None:
    t = Tiny()
    y = t.node("MatMul", t.input("x", (2, 8)), t.constant(np.ones((8, 4), np.float32)))

    assert portability(Graph(t.model(y, rank=2), Path()), is_x86=True, exact=True) is None

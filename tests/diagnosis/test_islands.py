"""Float between INT8, and what has no INT8 kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from diagnoses import operator
from tiny_graphs import Tiny, optimized

from mlopt.diagnosis.islands import float_islands, without_int8_kernel

IMAGE = (1, 4, 8, 8)


def test_float_operators_between_int8_ones_are_an_island(tmp_path: Path) -> None:
    t = Tiny()
    y = t.pair(t.node("Conv", t.pair(t.input("x", IMAGE)), t.weight(4, 4, 3, 3)))
    y = t.pair(t.node("Tanh", t.node("Exp", y)))
    y = t.pair(t.node("Conv", y, t.weight(4, 4, 3, 3)))
    graph = optimized(t.model(t.node("Sin", y)), tmp_path)

    found = float_islands(graph, {"Exp7": 0.25, "Tanh8": 0.5, "Sin15": 9.0})

    assert found is not None
    assert (found.count, found.operators) == (1, {"Exp": 1, "Tanh": 1})
    assert found.time_ms == sum(
        {"Exp": 0.25, "Tanh": 0.5}[n.op_type] for n in graph.nodes if n.name in {"Exp7", "Tanh8"}
    )


def test_a_float_model_has_no_islands(tmp_path: Path) -> None:
    t = Tiny()
    weight = t.constant(np.ones((8, 8), np.float32))
    model = t.model(t.node("Tanh", t.node("MatMul", t.input("x", IMAGE), weight)))

    assert float_islands(optimized(model, tmp_path), {}) is None


def test_operators_without_a_kernel_are_those_that_take_time() -> None:
    listed = [
        operator("QLinearConv", 0.5, arithmetic="int8"),
        operator("LayerNormalization", 0.2),
        operator("MatMul", 0.1, arithmetic="float"),
        operator("DequantizeLinear", 0.1),
        operator("Cast", 0.05),
        operator("Relu", 0.03),
        operator("Tanh", 0.005),
    ]

    assert [one.operator for one in without_int8_kernel(listed)] == ["LayerNormalization"]

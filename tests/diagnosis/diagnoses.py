"""Diagnoses to read: of a convolutional network in INT8, with what a test changes."""

from __future__ import annotations

from typing import Any

from mlopt.types.diagnosis import (
    Advice,
    Diagnosis,
    Fallback,
    FloatOperator,
    Islands,
    NodeCost,
    OperatorCost,
    Peaks,
    Portability,
    Unfused,
)

CPU = "CPUExecutionProvider"


def operator(name: str, share: float, **fields: Any) -> OperatorCost:
    return OperatorCost(operator=name, provider=CPU, nodes=2, time_ms=share, share=share, **fields)


def node(name: str, share: float, **fields: Any) -> NodeCost:
    given = {"operator": "QLinearConv", "arithmetic": "int8", "bytes_moved": 1000, **fields}
    return NodeCost(name=name, provider=CPU, time_ms=share, share=share, **given)


PEAKS = Peaks(
    int8_gmacs_per_s=500.0,
    float_gmacs_per_s=100.0,
    memory_gb_per_s=10.0,
    how="the fastest of several",
)


def diagnosis(**changes: Any) -> Diagnosis:
    """1 ms an inference, nearly all of it in the nodes, of which the most is INT8."""
    usual: dict[str, Any] = {
        "provider": "cpu",
        "processor": "A processor",
        "settings": {"graph_optimization": "all"},
        "batch_size": 1,
        "synthetic": False,
        "runs": 20,
        "p50_ms": 1.0,
        "fastest_ms": 0.95,
        "profiled_ms": 1.1,
        "nodes_ms": 1.0,
        "operators": (
            operator("QLinearConv", 0.9, arithmetic="int8", macs=100_000_000),
            operator("Softmax", 0.1),
        ),
        "slowest": (node("conv1", 0.5, macs=60_000_000, bytes_moved=200_000),),
        "macs": {"int8": 100_000_000},
        "bytes_moved": 1_000_000,
        "peaks": PEAKS,
    }
    return Diagnosis(**(usual | changes))


WITH_EVERYTHING = diagnosis(
    provider="openvino",
    fused={"QLinearConv": 2},
    unfused=(
        Unfused(
            reason="no_int8_kernel",
            operator="Tanh",
            nodes=("/block/Tanh",),
            count=4,
            time_ms=0.2,
            because="Tanh has no INT8 kernel",
        ),
        Unfused(
            reason="model_input",
            operator="",
            nodes=(),
            count=1,
            time_ms=0.01,
            because="the model's input is float",
        ),
    ),
    islands=Islands(count=2, operators={"Tanh": 2, "Erf": 1}, time_ms=0.1),
    without_kernel=(FloatOperator(operator="Tanh", nodes=2, time_ms=0.1, share=0.1),),
    fallbacks=(Fallback(provider=CPU, operator="Tanh", count=2, nodes=("/block/Tanh",)),),
    portability=Portability(
        products=2,
        unsigned_by_signed=2,
        can_saturate=1,
        largest_weight=127,
        exact_here=True,
        verdict="correct here because of avx512_vnni",
    ),
    advice=(Advice(action="pass fuse", because="parts of Gelu take 10%"),),
    notes=("inputs are synthetic",),
)

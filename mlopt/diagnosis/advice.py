"""From what was found to what to try next: recipes, passes, options and providers by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mlopt.diagnosis.operators import ATTENTIONS, INTEGER_PRODUCTS
from mlopt.types.diagnosis import Advice, Diagnosis

WORTH_IT = 0.05
"""Of the time: less is not worth a recommendation."""

DECOMPOSED = frozenset({"Erf", "Pow", "ReduceMean", "Sqrt", "Div", "Sub", "Tanh"})
"""What LayerNormalization and Gelu are made of where they were not fused."""

SOFTMAX = frozenset({"Softmax", "QLinearSoftmax"})
MOVES = frozenset({"Reshape", "Transpose"})
BOUNDARIES = frozenset({"model_input", "model_output"})
SCALED_AT_RUN_TIME = frozenset({"ConvInteger", "DynamicQuantizeLinear"})

NEAR_PEAK = 0.5
EXPLAINED = 0.7
"""Below that share of an inference, what stands between the nodes matters as much as they do."""

CACHED_BYTES = 32_000_000
"""Weights that a cache may keep from one inference to the next."""


class Surroundings(NamedTuple):
    """What the machine offers beside the provider that was looked at.

    Attributes:
        is_x86: Whether the processor is an x86.
        has_bf16: Whether it multiplies bfloat16.
        openvino: Why that provider cannot be used; None: it can.
        opset: Operator set of the file.
    """

    is_x86: bool
    has_bf16: bool
    openvino: str | None
    opset: int


def advise(found: Diagnosis, around: Surroundings) -> tuple[Advice, ...]:
    """What to try next, what promises most first.

    Args:
        found: What was diagnosed, without advice.
        around: What else there is to try.
    """
    rules = (_correctness, _fallbacks, _quantization, _fusion, _bounds, _providers)
    return tuple(one for rule in rules for one in rule(found, around))


def _correctness(found: Diagnosis, _: Surroundings) -> Iterator[Advice]:
    seen = found.portability
    if seen is not None and seen.can_saturate and seen.exact_here is False:
        yield Advice(
            action="int8_static with reduce_range: true",
            because=f"{seen.can_saturate} of {seen.products} INT8 products can saturate on this processor",
        )


def _fallbacks(found: Diagnosis, _: Surroundings) -> Iterator[Advice]:
    if found.fallbacks:
        count = sum(one.count for one in found.fallbacks)
        types = ", ".join(dict.fromkeys(one.operator for one in found.fallbacks))
        yield Advice(
            action="export_onnx with another opset, or --provider cpu for the whole model",
            because=f"{count} nodes ({types}) did not run on {found.provider}: values are copied there "
            "and back",
        )


def _quantization(found: Diagnosis, around: Surroundings) -> Iterator[Advice]:
    products = {one.operator: one.share for one in found.operators if one.arithmetic == "float"}
    in_float = sum(products.values())
    in_int8 = sum(one.share for one in found.operators if one.arithmetic == "int8")
    dynamic = sum(one.share for one in found.operators if one.operator in SCALED_AT_RUN_TIME)
    if dynamic > WORTH_IT:
        yield Advice(
            action="recipe int8-static",
            because=f"{_percent(dynamic)} of the time goes to scales that are computed at run time and "
            "to the convolutions that wait for them",
        )
    if in_float > WORTH_IT and not in_int8 and not found.unfused:
        convolutional = sum(share for name, share in products.items() if "Conv" in name)
        recipe = "int8-static" if convolutional > in_float / 2 else "int8-dynamic, or int8-static"
        yield Advice(
            action=f"recipe {recipe}",
            because=f"{_percent(in_float)} of the time goes to products in float",
        )
    if around.opset and around.opset < 13:
        yield Advice(
            action="export_onnx with opset 17 or newer",
            because=f"the file has opset {around.opset}; scales for each channel need 13",
        )


def _fusion(found: Diagnosis, _: Surroundings) -> Iterator[Advice]:
    if found.settings.get("graph_optimization") in {"none", "basic"}:
        yield Advice(
            action="session setting graph_optimization: all",
            because="operators are fused from 'extended' on",
        )
        return
    inner = [one for one in found.unfused if one.reason not in BOUNDARIES]
    lost = sum(one.time_ms for one in inner) / (found.nodes_ms or 1.0)
    if lost > WORTH_IT:
        worst = inner[0]
        exclude = f"exclude: [{', '.join(worst.nodes[:2])}{', ...' if worst.count > 2 else ''}]"
        if worst.reason != "no_int8_kernel":
            exclude = f"int8_static, which places Q/DQ as ONNX Runtime fuses them, or {exclude}"
        yield Advice(
            action=exclude,
            because=f"{_percent(lost)} of the time goes to Q/DQ that were not fused; most of it because "
            f"{worst.because}",
        )
    if parts := list(_parts(found)):
        yield Advice(action="pass fuse before quantizing", because="; ".join(parts))


def _parts(found: Diagnosis) -> Iterator[str]:
    """What runs in parts that there are whole operators for."""
    seen = {one.operator for one in found.operators}
    moved = sum(one.share for one in found.operators if one.operator in MOVES)
    if moved > WORTH_IT and seen & SOFTMAX and not seen & ATTENTIONS:
        yield f"attention runs in parts, and {_percent(moved)} of the time moves values between them"
    loose = sum(one.share for one in found.operators if one.operator in DECOMPOSED)
    if loose > WORTH_IT:
        yield (
            f"{_percent(loose)} of the time goes to the parts of LayerNormalization and Gelu, one by one"
        )


def _bounds(found: Diagnosis, _: Surroundings) -> Iterator[Advice]:
    explained = explained_share(found)
    nodes = sum(one.nodes for one in found.operators)
    if explained < EXPLAINED and nodes > 1:
        yield Advice(
            action="pass simplify, and session settings (intra_op_threads: 1)",
            because=f"{nodes} nodes explain only {_percent(explained)} of an inference: the rest is "
            "spent between them",
        )
    if _bound_by_memory(found) > 0.5:
        yield Advice(
            action="pass weight_only",
            because="most of the time goes to products that wait for the memory rather than for "
            "arithmetic, and weights are most of what they read",
        )
    share = found.int8_peak_share or 0.0
    if share > NEAR_PEAK and found.macs.get("int8", 0) > sum(found.macs.values()) / 2:
        yield Advice(
            action="recipe prune or prune-distill-int8, or smaller inputs",
            because=f"{_percent(share)} of the machine's INT8 peak is reached: "
            "only less arithmetic is faster",
        )


def explained_share(found: Diagnosis) -> float:
    """Share of an inference that its nodes take, at most 1.

    It is over the fastest one without the profiler: what interrupts others is not the model's.
    """
    return min(1.0, found.nodes_ms / found.fastest_ms) if found.fastest_ms else 1.0


def _bound_by_memory(found: Diagnosis) -> float:
    """Share of the time of the slowest nodes that goes to products which wait for their weights.

    Those lie below the ridge of the roofline, and their weights are more than any cache keeps.
    """
    memory = found.peaks.memory_gb_per_s
    if not memory:
        return 0.0
    waiting = [
        node
        for node in found.slowest
        if (peak := found.peaks.of(node.arithmetic)) is not None
        and node.macs_per_byte is not None
        and node.macs_per_byte < peak / memory
        and node.weight_bytes > node.bytes_moved / 2
    ]
    total = sum(node.time_ms for node in found.slowest)
    if not total or sum(node.weight_bytes for node in waiting) < CACHED_BYTES:
        return 0.0
    return sum(node.time_ms for node in waiting) / total


def _providers(found: Diagnosis, around: Surroundings) -> Iterator[Advice]:
    if not around.is_x86:
        return
    multiplies = sum(one.share for one in found.operators if one.arithmetic is not None)
    if found.provider == "cpu" and multiplies > 0.3:
        integer = any(one.operator in INTEGER_PRODUCTS for one in found.operators)
        reached = found.int8_peak_share if integer else None
        words = (
            "" if reached is None else f", and only {_percent(reached)} of the INT8 peak is reached"
        )
        hint = "" if around.openvino is None else f" ({around.openvino})"
        if reached is None or reached < NEAR_PEAK:
            yield Advice(
                action="provider openvino",
                because=f"products take {_percent(multiplies)} of the time{words}; OpenVINO's kernels choose "
                f"layouts and tiles of their own{hint}",
            )
    if found.provider == "openvino" and around.has_bf16 and found.macs.get("float"):
        yield Advice(
            action="provider openvino-bf16, scored",
            because="this processor multiplies bfloat16 faster than float; answers change, so they "
            "have to be scored",
        )


def _percent(share: float) -> str:
    return f"{share:.0%}"

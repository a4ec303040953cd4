"""What is recommended for what was found."""

from __future__ import annotations

import re
from typing import Any

import pytest
from diagnoses import diagnosis, node, operator

from mlopt.diagnosis.advice import Surroundings, advise
from mlopt.providers import available_providers
from mlopt.types.diagnosis import Diagnosis, Fallback, Portability, Unfused

AROUND = Surroundings(is_x86=True, has_bf16=True, openvino=None, opset=17)


def actions(found: Diagnosis, **around: Any) -> str:
    return "\n".join(one.action for one in advise(found, AROUND._replace(**around)))


def unfused(reason: str, time_ms: float) -> Unfused:
    return Unfused(
        reason=reason, operator="Conv", nodes=("a", "b"), count=3, time_ms=time_ms, because="why"
    )


def saturating(exact: bool) -> Portability:
    return Portability(
        products=3,
        unsigned_by_signed=3,
        can_saturate=2,
        largest_weight=127,
        exact_here=exact,
        verdict="",
    )


FLOAT_CONV = (operator("FusedConv", 0.9, arithmetic="float", macs=10),)
FLOAT_MATMUL = (operator("MatMul", 0.6, arithmetic="float"), operator("Erf", 0.2))
IN_PARTS = (operator("Softmax", 0.1), operator("Transpose", 0.2))
WEIGHTS = node("big", 0.9, macs=40_000_000, bytes_moved=40_000_000, weight_bytes=39_000_000)


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"operators": FLOAT_CONV, "macs": {"float": 10}}, "recipe int8-static"),
        ({"operators": FLOAT_MATMUL, "macs": {"float": 10}}, "recipe int8-dynamic, or int8-static"),
        ({"operators": FLOAT_MATMUL}, "pass fuse before quantizing"),
        ({"operators": IN_PARTS}, "pass fuse before quantizing"),
        ({"operators": (operator("ConvInteger", 0.5, arithmetic="int8"),)}, "recipe int8-static"),
        ({"unfused": (unfused("float_input", 0.3),)}, "int8_static, which places Q/DQ"),
        ({"unfused": (unfused("no_int8_kernel", 0.3),)}, "exclude: [a, b, ...]"),
        ({"settings": {"graph_optimization": "basic"}}, "graph_optimization: all"),
        ({"portability": saturating(exact=False)}, "reduce_range: true"),
        ({"nodes_ms": 0.3}, "pass simplify"),
        ({"slowest": (WEIGHTS,)}, "pass weight_only"),
        ({"macs": {"int8": 400_000_000}}, "prune or prune-distill-int8"),
        ({}, "provider openvino"),
        ({"provider": "openvino", "macs": {"float": 1}}, "provider openvino-bf16, scored"),
        (
            {"fallbacks": (Fallback(provider="X", operator="Y", count=1, nodes=("n",)),)},
            "--provider cpu",
        ),
    ],
)
def test_what_was_found_leads_to_what_to_try(changes: dict[str, Any], action: str) -> None:
    assert action in actions(diagnosis(**changes))


@pytest.mark.parametrize(
    ("changes", "around", "action"),
    [
        ({"portability": saturating(exact=True)}, {}, "reduce_range"),
        ({"unfused": (unfused("model_input", 0.3),)}, {}, "exclude"),
        ({"unfused": (unfused("float_input", 0.01),)}, {}, "exclude"),
        ({"macs": {"int8": 400_000_000}}, {}, "openvino"),
        ({"macs": {"float": 400_000_000}}, {}, "prune"),
        ({}, {"is_x86": False}, "openvino"),
        ({"operators": (*IN_PARTS, operator("Attention", 0.1))}, {}, "fuse"),
        ({"provider": "openvino", "macs": {"float": 1}}, {"has_bf16": False}, "bf16"),
        ({"slowest": (WEIGHTS.model_copy(update={"weight_bytes": 1_000_000}),)}, {}, "weight_only"),
    ],
)
def test_nothing_is_recommended_without_a_finding(
    changes: dict[str, Any], around: dict[str, Any], action: str
) -> None:
    assert action not in actions(diagnosis(**changes), **around)


def test_an_old_operator_set_cannot_hold_scales_for_each_channel() -> None:
    assert "opset 17" in actions(diagnosis(), opset=11)
    assert "opset" not in actions(diagnosis(), opset=13)


def test_a_provider_that_is_not_there_comes_with_how_to_install_it() -> None:
    (found,) = advise(diagnosis(), AROUND._replace(openvino="it is not installed."))

    assert "(it is not installed.)" in found.because


def test_what_is_recommended_exists() -> None:
    from mlopt.api import list_recipes
    from mlopt.passes import PASSES

    cases = [FLOAT_CONV, FLOAT_MATMUL, (operator("ConvInteger", 0.5, arithmetic="int8"),)]
    texts = [actions(diagnosis(operators=one, slowest=(WEIGHTS,), nodes_ms=0.1)) for one in cases]
    text = "\n".join([*texts, actions(diagnosis(macs={"int8": 400_000_000}))])

    named = set(re.findall(r"pass (\w+)", text)) | set(re.findall(r"\b(int8_\w+)", text))
    assert named <= set(PASSES.entries)
    recipes = set(re.findall(r"\b(int8-[a-z]+|prune[-a-z0-9]*)\b", text))
    assert recipes <= {one.recipe.name for one in list_recipes()}
    assert "openvino" in available_providers()

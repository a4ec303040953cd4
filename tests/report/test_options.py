"""How a candidate's provider and session settings are shown."""

from __future__ import annotations

from typing import Any

import pytest

from mlopt.report.options import _facts
from mlopt.runners.onnxruntime import OnnxRuntimeRunner
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import CandidateResult


def first_fact(provider: str, **changed: Any) -> str:
    plan = PlannedCandidate(
        name="c",
        role="candidate",
        recipe="fp32",
        provider=provider,
        runner="onnxruntime",
        settings=OnnxRuntimeRunner(**changed).resolve(2).model_dump(mode="json"),
    )
    return _facts(CandidateResult(plan=plan))[0]


def test_settings_that_are_as_usual_are_left_out() -> None:
    assert first_fact("cpu") == (
        "Runs on `onnxruntime`, provider `cpu`, with intra_op_threads = 2, graph_optimization = all."
    )


def test_settings_that_are_not_as_usual_are_shown() -> None:
    shown = first_fact("cpu", allow_spinning=False, execution_mode="parallel")
    for one in ("allow_spinning = no", "execution_mode = parallel", "inter_op_threads = 2"):
        assert one in shown


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("openvino-bf16", "provider `openvino-bf16` (OpenVINO on the CPU, computing in bfloat16, "),
        ("cuda-device", "stay in the GPU's memory: no copy is timed)"),
    ],
)
def test_a_variant_says_what_it_changes(provider: str, says: str) -> None:
    assert says in first_fact(provider)


@pytest.mark.parametrize("provider", ["openvino", "xnnpack", "one of tomorrow"])
def test_any_other_provider_is_shown_by_its_name_alone(provider: str) -> None:
    assert f"provider `{provider}`, with " in first_fact(provider)

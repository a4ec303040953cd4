"""What only a GPU can show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLE

from mlopt import api
from mlopt.providers import resolve_provider

REASON = resolve_provider("cuda").unavailable_because()

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=f"no GPU: {REASON}")]


def test_the_sample_runs_on_cuda_with_every_node_placed_there(tmp_path: Path) -> None:
    result = api.optimize(SAMPLE, out=tmp_path, recipes=["fp32"], providers=["cuda"])

    candidate = result.run.candidate("fp32@cuda")
    assert candidate.status == "measured"
    assert candidate.placement is not None
    assert candidate.placement.share_on("CUDAExecutionProvider") == 1.0
    assert not candidate.fell_back


def test_every_variant_of_cuda_runs_the_sample_and_only_tf32_and_fp16_change_answers(
    tmp_path: Path,
) -> None:
    providers = ["cuda", "cuda-graphs", "cuda-device", "cuda-device-graphs", "cuda-tf32"]
    result = api.optimize(SAMPLE, out=tmp_path, recipes=["fp32", "fp16"], providers=providers)

    def answers(name: str) -> np.ndarray:
        quality = result.run.candidate(name).selection.quality
        with np.load(result.run_dir / quality.predictions.path) as file:
            return np.array(file["predictions"])

    for recipe in ("fp32", "fp16"):
        for provider in providers:
            candidate = result.run.candidate(f"{recipe}@{provider}")
            assert candidate.status == "measured", candidate.failure
            assert candidate.placement is not None
            assert candidate.placement.share_on("CUDAExecutionProvider") == 1.0
    for provider in providers[1:4]:
        np.testing.assert_allclose(
            answers(f"fp32@{provider}"), answers("fp32@cuda"), rtol=1e-4, atol=1e-4
        )
    assert (answers("fp16@cuda") != answers("fp32@cuda")).any()

"""What only a GPU can show."""

from __future__ import annotations

from pathlib import Path

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

"""What is scored, what is timed and what ships run with the same session settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from linear_project import FEATURES, write_onnx

from mlopt.evaluation.scoring import score
from mlopt.pipeline.quality import stage_of
from mlopt.pipeline.seal import seal
from mlopt.pipeline.verdict import session_settings
from mlopt.profiling.session import TimingSession
from mlopt.runners import RUNNERS, opening_of
from mlopt.runners.onnxruntime import OnnxRuntimeRunner
from mlopt.serving import onnx_model
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.candidate import PlannedCandidate, Stage
from mlopt.types.passes import Draft
from mlopt.types.run import CandidateResult
from mlopt.types.tensors import TensorSpec

SETTINGS = OnnxRuntimeRunner(allow_spinning=False, graph_optimization="basic").resolve(1)
CANDIDATE = PlannedCandidate(
    name="tuned",
    role="candidate",
    recipe="fp32",
    provider="cpu",
    runner="onnxruntime",
    settings=SETTINGS.model_dump(mode="json"),
)


@pytest.fixture
def stage(tmp_path: Path) -> dict[str, Any]:
    """What executes the candidate, as it goes to a worker."""
    directory = tmp_path / "artifact"
    directory.mkdir()
    write_onnx(directory / "model.onnx")
    spec = TensorSpec(name="features", dtype="float32", shape=("batch", FEATURES))
    draft = Draft(main="model.onnx", inputs=(spec,), outputs=(spec,))
    seal(directory, draft, "onnx", (LineageStep(transformation="source"),), "")
    found: dict[str, Any] = json.loads(
        json.dumps(stage_of(CANDIDATE, Artifact.open(directory)).model_dump(mode="json"))
    )
    return found


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    with SnapshotWriter(tmp_path / "split") as writer:
        writer.append({"features": np.ones((4, FEATURES), np.float32)}, np.zeros(4, np.int64))
        writer.finish()
    return str(tmp_path / "split")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[OnnxRuntimeRunner]:
    """The settings of every session that is opened."""
    found: list[OnnxRuntimeRunner] = []
    options = onnx_model.session_options

    def spy(settings: Mapping[str, Any], *sizes: object) -> object:
        found.append(OnnxRuntimeRunner.model_validate(settings))
        return options(settings, *sizes)

    monkeypatch.setattr(onnx_model, "session_options", spy)
    return found


def test_scoring_and_timing_open_the_session_that_ships(
    stage: dict[str, Any], snapshot: str, seen: list[OnnxRuntimeRunner], tmp_path: Path
) -> None:
    score(stage, "", snapshot, str(tmp_path / "answers.npy"), None, "classification")
    TimingSession(opening_of(Stage.model_validate(stage), Path()), snapshot, [1], 1)
    shipped = json.loads(session_settings(CandidateResult(plan=CANDIDATE)))
    ships = RUNNERS[shipped["runner"]].model_validate(shipped["settings"])
    assert seen == [ships, ships] == [SETTINGS, SETTINGS]

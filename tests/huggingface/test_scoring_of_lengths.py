"""Texts are scored at their own lengths, and all answers of a split have one shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from directory_bench import Prepared

from mlopt.evaluation.scoring import BATCH, of_full_length, score
from mlopt.profiling.session import input_pool
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage
from mlopt.types.task import NO_TOKEN

Prepare = Callable[[str], Prepared]


def scored(bench: Prepared, artifact: Artifact, target: Path, runner: str) -> Any:
    stage = Stage(artifact=str(artifact.directory), runner=runner, provider="cpu")
    score(
        stage.model_dump(mode="json"), str(bench.project), bench.snapshots["selection"],
        str(target), None, bench.source.task,
    )  # fmt: skip
    return np.load(target)


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
def test_answers_are_those_to_the_padded_texts_wherever_a_token_counts(
    task: str, prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mlopt.evaluation.scoring.emit", lambda *_: None)
    bench = prepared(task)
    onnx = bench.apply("export_onnx", bench.artifact, tmp_path)
    snapshot = bench.snapshot()
    lengths = [batch["input_ids"].shape[1] for batch in snapshot.batches(BATCH)]
    found = scored(bench, onnx, tmp_path / "answers.npy", "onnxruntime")

    session = ort.InferenceSession(onnx.main_file, providers=["CPUExecutionProvider"])
    padded = session.run(None, {name: np.array(a) for name, a in snapshot.inputs.items()})
    mask = snapshot.inputs["attention_mask"] != 0
    assert snapshot.length is not None
    if task == "token-classification":
        assert found.shape == (70, snapshot.length, 3)
        np.testing.assert_allclose(found[mask], padded[0][mask], atol=1e-5)
    else:
        assert found.shape == (70, 2, snapshot.length)
        both = np.stack(padded, axis=1)
        counted = np.stack([mask, mask], axis=1)
        np.testing.assert_allclose(found[counted], both[counted], atol=1e-5)
        assert (found[~counted] < -1e8).all()
    eager = scored(bench, bench.artifact, tmp_path / "eager.npy", "pytorch")
    np.testing.assert_allclose(eager, found, atol=1e-4)
    assert max(lengths) == snapshot.length


def test_only_answers_with_a_token_axis_are_lengthened():
    tags = of_full_length(np.ones((2, 3, 4), np.float32), "token_classification", 5)
    assert tags.shape == (2, 5, 4)
    assert tags[:, 3:].max() == 0
    spans = of_full_length(np.ones((2, 2, 3), np.float32), "question_answering", 5)
    assert spans.shape == (2, 2, 5)
    assert (spans[:, :, 3:] == np.float32(NO_TOKEN)).all()
    logits = np.ones((2, 3), np.float32)
    assert of_full_length(logits, "classification", 5) is logits
    assert of_full_length(tags, "token_classification", None) is tags


def test_single_texts_are_timed_at_their_own_lengths(prepared: Prepare):
    bench = prepared("text-classification")
    pool = input_pool(Path(bench.snapshots["selection"]), 1, 20)
    lengths = [one["input_ids"].shape[1] for one in pool]
    assert lengths == [int(one["attention_mask"].sum()) for one in pool]
    assert len(set(lengths)) > 2

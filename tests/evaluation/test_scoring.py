"""A candidate answers a split: every example once, in its order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.errors import ModelError
from mlopt.evaluation.scoring import score
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.candidate import Stage

Array = np.ndarray[Any, Any]


class FakeSession:
    """Answers the double of its input, and notes the sizes of the batches."""

    def __init__(self, nodes: dict[str, int] | None = None, nan_at: int | None = None) -> None:
        self.sizes: list[int] = []
        self.placed = nodes
        self.nan_at = nan_at

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        x = inputs["x"]
        self.sizes.append(len(x))
        outputs = 2.0 * x
        if self.nan_at is not None:
            outputs[x == self.nan_at] = np.nan
        return {"logits": outputs, "features": np.zeros((len(x), 99))}

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        return lambda: None

    def serving(self) -> AbstractContextManager[object]:
        return nullcontext()

    def nodes(self) -> dict[str, int] | None:
        return self.placed


Score = Callable[..., tuple[dict[str, Any], Array]]


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    def run(
        session: FakeSession, examples: int, fixed_batch: int | None = None
    ) -> tuple[dict[str, Any], Array]:
        monkeypatch.setattr("mlopt.evaluation.scoring.open_stage", lambda *_: session)
        with SnapshotWriter(tmp_path / "split") as writer:
            writer.append({"x": np.arange(examples, dtype=np.float32)[:, None]}, None)
            writer.finish()
        stage = Stage(artifact="a", runner="onnxruntime", provider="cpu")
        target = tmp_path / "outputs.npy"
        answer = score(
            stage.model_dump(),
            str(tmp_path),
            str(tmp_path / "split"),
            str(target),
            fixed_batch,
            "classification",
        )
        return answer, np.load(target)

    return run


@pytest.mark.parametrize("examples", [1, 31, 32, 33, 70])
def test_stores_the_first_output_of_every_example_in_its_order(
    scored: Score, examples: int
) -> None:
    session = FakeSession()
    _, outputs = scored(session, examples)
    np.testing.assert_array_equal(outputs, 2.0 * np.arange(examples)[:, None])
    assert sum(session.sizes) == examples


@pytest.mark.parametrize(("examples", "batches"), [(8, 2), (9, 3), (3, 1)])
def test_a_fixed_batch_is_always_filled_and_the_filling_is_not_kept(
    scored: Score, examples: int, batches: int
) -> None:
    session = FakeSession()
    _, outputs = scored(session, examples, fixed_batch=4)
    assert session.sizes == [4] * batches
    np.testing.assert_array_equal(outputs, 2.0 * np.arange(examples)[:, None])


@pytest.mark.parametrize("nodes", [None, {"CPUExecutionProvider": 3}])
def test_says_where_the_nodes_ran(scored: Score, nodes: dict[str, int] | None) -> None:
    answer, _ = scored(FakeSession(nodes), 3)
    assert answer == {"nodes": nodes}


def test_a_model_that_answers_nan_is_refused_with_the_number_of_examples(scored: Score) -> None:
    with pytest.raises(ModelError, match="answers NaN or infinity on 1 of 40 examples"):
        scored(FakeSession(nan_at=7), 40)

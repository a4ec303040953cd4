"""Rank what a quantizer put into 8 bits by how much it hurts. Runs in a worker."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.errors import BuildError
from mlopt.evaluation.answers import answer_of
from mlopt.evaluation.metrics import score_outputs
from mlopt.evaluation.scoring import of_full_length
from mlopt.passes._onnx import preprocess
from mlopt.passes._sensitivity import Layer, Sensitivity, decibels
from mlopt.passes._slices import shared_tensors
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact
from mlopt.types.passes import TrainingSetup
from mlopt.types.tensors import fixed_batch
from mlopt.workers import emit

BATCH = 4
"""All tensors of a batch may be in memory at once, in float and in 8 bits."""

Array = np.ndarray[Any, Any]


def rank(
    source: str,
    quantized: str,
    scratch: str,
    project_dir: str,
    snapshot: str,
    training: dict[str, Any],
    examples: int,
    checked: int,
) -> dict[str, Any]:
    """Ranks layers by the noise that they make, and the worst of them by what that does at the end.

    The noise is local (:mod:`mlopt.passes._sensitivity`): it says what a layer does to its own output,
    and not what becomes of that. So the float model runs once for each of the worst layers with that
    one alone in 8 bits, and its answers are compared with those of the float model: by the deciding
    metric, where calibration has targets, and by the noise that arrives. A loss is compared in whole
    percent of the float model's score: on a few hundred examples, less is chance, and the noise that
    arrives then tells more. This costs a pass over the examples for each layer that is checked, which
    is a small part of building and scoring one candidate; ``checked: 0`` leaves it out.

    Args:
        source: Directory of the artifact that the quantizer took.
        quantized: Directory of the artifact that it made.
        scratch: Directory for what is not kept.
        project_dir: Where the user's code is imported from.
        snapshot: Directory of the calibration split: what is judged later has no part in it.
        training: What the project scores by, as :class:`TrainingSetup` in JSON.
        examples: Most examples.
        checked: How many of the noisiest layers are looked at alone.

    Returns:
        ``layers``: each :class:`~mlopt.passes._sensitivity.Layer` as JSON, the worst first.

    Raises:
        BuildError: The two graphs cannot be compared, or calibration has not one batch of the size
            that the model insists on.
    """
    taken, made = (Artifact.open(Path(one)) for one in (source, quantized))
    split = _Split(Snapshot(Path(snapshot)), fixed_batch(taken.manifest.inputs), examples)
    if split.examples == 0:
        raise BuildError("calibration has fewer examples than the model takes at once")
    floats = _float_graph(taken.main_file, made.main_file, Path(scratch))
    sensitivity = Sensitivity(floats, made.main_file, Path(scratch))
    layers = sensitivity.rank(split.batches("ranking layers"))
    setup = TrainingSetup.model_validate(training)
    check = _Check(sensitivity, split, setup, Path(project_dir))
    worst = [check.look_at(layer) for layer in layers[:checked]]
    worst.sort(key=_harm)
    return {"layers": [one.model_dump(mode="json") for one in (*worst, *layers[checked:])]}


class _Split(NamedTuple):
    """The examples that are looked at; a fixed batch axis takes whole batches only."""

    snapshot: Snapshot
    fixed: int | None
    most: int

    @property
    def size(self) -> int:
        return self.fixed or BATCH

    @property
    def examples(self) -> int:
        available = min(self.most, self.snapshot.examples)
        return available // self.fixed * self.fixed if self.fixed else available

    def batches(self, message: str) -> Iterator[Mapping[str, Array]]:
        for start in range(0, self.examples, self.size):
            yield self.snapshot.take(slice(start, min(start + self.size, self.examples)))
            emit(message, min(1.0, (start + self.size) / self.examples))

    @property
    def targets(self) -> Array | None:
        targets = self.snapshot.targets
        return None if targets is None else np.array(targets[: self.examples])


class _Check:
    """Looks at what single layers in 8 bits do to the answers of the float model."""

    def __init__(
        self, sensitivity: Sensitivity, split: _Split, setup: TrainingSetup, project_dir: Path
    ) -> None:
        self._sensitivity = sensitivity
        self._split = split
        self._setup = setup
        self._project_dir = project_dir
        self._float: Array | None = None

    def look_at(self, layer: Layer) -> Layer:
        """The layer with what arrives of its noise, and what it costs of the metric."""
        if self._float is None:
            self._float = self._answers(None, "answering in float")
        answers = self._answers(layer, f"{layer.nodes[0]} alone in 8 bits")
        before, now = (one.astype(np.float64) for one in (self._float, answers))
        noise, signal = float(np.square(now - before).sum()), float(np.square(before).sum())
        update = {"arriving_db": decibels(noise, signal), "loss": self._loss(answers)}
        return layer.model_copy(update=update)

    def _answers(self, layer: Layer | None, message: str) -> Array:
        """What is scored of the answers, shape (N, ...)."""
        task, length = self._setup.task, self._split.snapshot.length
        batches, inputs = itertools.tee(self._split.batches(message))
        found = self._sensitivity.answers(layer, batches)
        return np.concatenate(
            [
                of_full_length(answer_of(task, outputs, batch), task, length)
                for outputs, batch in zip(found, inputs, strict=True)
            ]
        )

    def _loss(self, answers: Array) -> float | None:
        """The loss of the deciding metric, as a share of the float model's score."""
        assert self._float is not None, "the float model answers first"
        targets = self._split.targets
        if self._setup.task == "feature_extraction":
            targets = self._float
        if targets is None:
            return None
        before, now = (self._score(one, targets) for one in (self._float, answers))
        if not np.isfinite([before, now]).all() or before == 0:
            return None
        loss = before - now if self._setup.higher_is_better else now - before
        return float(loss / abs(before))

    def _score(self, answers: Array, targets: Array) -> float:
        return score_outputs(
            self._setup.metric,
            self._setup.function,
            self._setup.task,
            answers,
            targets,
            self._project_dir,
        )


def _harm(layer: Layer) -> tuple[float, float]:
    """For sorting, the worst first."""
    loss = max(0.0, round(layer.loss or 0.0, 2))
    return -loss, layer.sqnr_db if layer.arriving_db is None else layer.arriving_db


def _float_graph(source: Path, quantized: Path, scratch: Path) -> Path:
    """The graph that the quantizer took: the source, or what pre-processing makes of it.

    That is the one with which the result shares more names; only names of that one are understood
    by the quantizer.
    """
    prepared = scratch / "prepared.onnx"
    try:
        preprocess(source, prepared)
    except BuildError:
        return source
    return max((prepared, source), key=lambda path: _shared(path, quantized))


def _shared(floats: Path, quantized: Path) -> int:
    import onnx

    graphs: Sequence[Any] = [
        onnx.load(str(path), load_external_data=False).graph for path in (floats, quantized)
    ]
    return shared_tensors(*graphs)

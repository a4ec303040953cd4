"""What a training step recorded of itself, epoch by epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlopt.types.artifact import LineageStep
from mlopt.types.run import Run

TRAINING = "training"
"""The fact that holds it."""


class Epoch(NamedTuple):
    """One pass over the examples; None for what was not recorded or is not finite."""

    number: int
    loss: float | None
    validation_loss: float | None
    score: float | None


class Training(NamedTuple):
    """One training run.

    Attributes:
        start: The model as it came in, as epoch 0.
        best: Number of the epoch whose weights were kept; 0: those that came in.
        metric: What the validation score is of.
        teacher_score: The teacher's score on the same validation examples.
    """

    start: Epoch | None
    epochs: tuple[Epoch, ...]
    best: int | None
    stopped_early: bool
    metric: str
    examples: int | None
    validation_examples: int | None
    seconds: float | None
    teacher_score: float | None

    @property
    def points(self) -> tuple[Epoch, ...]:
        """The epochs, and before them the model as it came in."""
        return self.epochs if self.start is None else (self.start, *self.epochs)

    @property
    def best_score(self) -> float | None:
        """Validation score of the epoch that was kept."""
        return next((e.score for e in self.points if e.number == self.best), None)


class Curve(NamedTuple):
    """A training run, and where in the run it stands.

    Attributes:
        steps: Names of the passes until it, itself the last.
        candidates: Names of those that it is a step of.
    """

    steps: tuple[str, ...]
    candidates: tuple[str, ...]
    training: Training


def read_training(facts: Mapping[str, Any]) -> Training | None:
    """The training among a step's facts; None where there is none, or no epoch in it."""
    found = facts.get(TRAINING)
    entries = found.get("epochs") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(entries, list) or not entries:
        return None
    start = found.get("start")
    return Training(
        start=_epoch(0, start) if isinstance(start, Mapping) else None,
        epochs=tuple(_epoch(number, entry) for number, entry in enumerate(entries, 1)),
        best=_whole(found.get("best_epoch")),
        stopped_early=found.get("stopped_early") is True,
        metric=str(found.get("metric", "score")),
        examples=_whole(found.get("examples")),
        validation_examples=_whole(found.get("validation_examples")),
        seconds=_finite(found.get("seconds")),
        teacher_score=_finite(found.get("teacher_score")),
    )


def curves(run: Run) -> list[Curve]:
    """Every training run once, in the order of the plan, with the candidates that share it."""
    found: dict[str, Curve] = {}
    for result in run.candidates:
        for end, step in enumerate(result.lineage, 1):
            training = read_training(step.facts)
            if training is None:
                continue
            key = _identity(result.lineage[:end])
            steps = tuple(s.transformation for s in result.lineage[1:end])
            known = found.get(key, Curve(steps, (), training))
            found[key] = known._replace(candidates=(*known.candidates, result.name))
    return list(found.values())


def _epoch(number: int, entry: Mapping[str, Any]) -> Epoch:
    values = (_finite(entry.get(k)) for k in ("loss", "validation_loss", "validation_score"))
    recorded = _whole(entry.get("epoch"))
    return Epoch(number if recorded is None else recorded, *values)


def _identity(lineage: tuple[LineageStep, ...]) -> str:
    steps = [[step.transformation, step.parameters, step.seed] for step in lineage]
    return json.dumps(steps, sort_keys=True)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None

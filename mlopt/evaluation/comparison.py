"""Compare the answers of candidates with the baseline's, example by example.

Runs in a worker process: metrics may be the user's own code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt import stats
from mlopt.errors import ConfigError, DataError
from mlopt.evaluation.metrics import (
    BUILTIN,
    Task,
    builtin_metric,
    per_example_score,
    predicted_classes,
)
from mlopt.evaluation.resampled import weighted_metric
from mlopt.store.snapshot import Snapshot
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import MetricResult
from mlopt.types.record import Record
from mlopt.workers import emit
from mlopt.workers.usercode import describe, load_object

Array = np.ndarray[Any, Any]

FEWEST_TO_TELL = 20
"""Outputs that must all lie within 0 and 1 before they are taken for probabilities."""
Metric = Callable[[Array, Array], float]

_PROGRESS_INTERVAL_S = 1.0


class MetricRequest(Record):
    """A metric to compute.

    Attributes:
        function: ``module:function`` of the user's; None for one of mlopt's.
        max_drop: Absolute, or a share of the baseline's value when ``relative``.
    """

    name: str
    function: str | None
    higher_is_better: bool
    max_drop: float | None
    relative: bool


class Pair(NamedTuple):
    """Two sets of answers to the same examples, and the truth; the example axis first."""

    candidate: Array
    baseline: Array
    targets: Array

    @property
    def classes(self) -> int:
        """Width of the output."""
        return self.baseline.shape[1] if self.baseline.ndim > 1 else 1


def compare(
    outputs: dict[str, str],
    baseline: str,
    snapshot: str,
    split: str,
    metrics: list[dict[str, Any]],
    task: Task,
    project_dir: str,
    seed: int,
) -> dict[str, Any]:
    """Compares every candidate with the baseline.

    Args:
        outputs: File of each candidate's outputs, ``.npy``, the baseline's among them.
        baseline: Its name.
        snapshot: Directory of the split.
        split: Its name.
        metrics: As :class:`MetricRequest`, in JSON.
        task: Whether there are predicted classes that can flip.
        project_dir: Where the user's code is imported from.
        seed: For the bootstrap.

    Returns:
        For each candidate, ``metrics`` (a list of :class:`MetricResult`) and ``flip_rate``; or
        ``error``, why it cannot be compared.

    Raises:
        ConfigError: A metric of the user's cannot be imported, or fails on the baseline.
        DataError: A metric is not defined on this data.
    """
    targets = Snapshot(Path(snapshot)).targets
    if targets is None:
        raise DataError(f"data.{split} has no targets to score against.")
    truth = np.array(targets)
    reference = np.load(outputs[baseline])
    requests = [MetricRequest.model_validate(m) for m in metrics]
    if any(request.function is None and request.name != "auroc" for request in requests):
        refuse_probabilities(reference, task)
    found: dict[str, Any] = {}
    for number, (name, path) in enumerate(outputs.items()):
        pair = Pair(np.load(path), reference, truth)
        try:
            results = [
                _result(request, pair, split, Path(project_dir), seed, name == baseline)
                for request in requests
            ]
            found[name] = {
                "metrics": [result.model_dump(mode="json") for result in results],
                "flip_rate": flip_rate(pair) if task == "classification" else None,
            }
        except Exception as e:
            if name == baseline:
                raise
            found[name] = {"error": str(e)}  # it costs this candidate, and no other
        emit("comparing", (number + 1) / len(outputs))
    return found


def refuse_probabilities(outputs: Array, task: Task) -> None:
    """Refuses a single output for each example that is a probability, where a logit is read.

    Its sign would be taken for the class, and every score would be silently wrong.

    Raises:
        DataError: All of at least 20 outputs lie within 0 and 1, and are not all equal.
    """
    single = outputs.ndim == 1 or outputs.shape[1:] == (1,)
    if task != "classification" or not single or len(outputs) < FEWEST_TO_TELL:
        return
    low, high = float(outputs.min()), float(outputs.max())
    if 0.0 <= low < high <= 1.0:
        raise DataError(
            f"metrics: the model's single output lies between {low:.3g} and {high:.3g} on all "
            f"{len(outputs)} examples: it looks like a probability, and mlopt reads a logit, whose "
            "sign is the class. Leave the sigmoid out of the model, or give one output for each class."
        )


def flip_rate(pair: Pair) -> float:
    """Share of the examples whose predicted class differs from the baseline's."""
    return float((predicted_classes(pair.candidate) != predicted_classes(pair.baseline)).mean())


def _result(
    request: MetricRequest, pair: Pair, split: str, project_dir: Path, seed: int, is_baseline: bool
) -> MetricResult:
    metric = _metric(request, pair, project_dir)
    value, base = metric(pair.candidate, pair.targets), metric(pair.baseline, pair.targets)
    if not np.isfinite([value, base]).all():
        raise DataError(
            f"metrics: '{request.name}' is not defined on data.{split} (it gives {value}): "
            "it may need more than one class, or more examples."
        )
    gained, lost = _right_and_wrong(request, pair)
    if is_baseline:
        delta, method = Estimate(value=0.0, low=0.0, high=0.0), "the baseline itself"
    else:
        delta, method = _delta(request, metric, pair, seed, value - base, gained, lost)
    drop = request.max_drop
    if drop is not None and request.relative:
        drop *= abs(base)
    return MetricResult(
        name=request.name,
        split=split,
        examples=len(pair.targets),
        value=value,
        baseline_value=base,
        delta=delta,
        higher_is_better=request.higher_is_better,
        max_drop=drop,
        method=method,
        gained=gained,
        lost=lost,
    )


def _metric(request: MetricRequest, pair: Pair, project_dir: Path) -> Metric:
    if request.function is None:
        return builtin_metric(request.name, pair.classes)
    place = f"metrics ({request.name})"
    function = load_object(request.function, project_dir, place)

    def call(outputs: Array, targets: Array) -> float:
        try:
            return float(function(outputs, targets))
        except Exception as e:
            raise ConfigError(
                f"{place}: '{request.function}' raised {describe(e, project_dir)}"
            ) from e

    return call


def _delta(
    request: MetricRequest,
    metric: Metric,
    pair: Pair,
    seed: int,
    change: float,
    gained: int | None,
    lost: int | None,
) -> tuple[Estimate, str]:
    """Candidate minus baseline, with the interval that fits the metric, and its name."""
    n = len(pair.targets)
    if gained is not None and lost is not None:
        low, high = stats.tango_interval(gained, lost, n)
        return Estimate(value=(gained - lost) / n, low=low, high=high), "Tango's score interval"
    if request.function is None and BUILTIN[request.name].per_example:
        scores = [
            per_example_score(request.name, o, pair.targets)
            for o in (pair.candidate, pair.baseline)
        ]
        unit = float(np.mean(scores[1])) or None
        return stats.mean_delta(scores[0] - scores[1], seed=seed, unit=unit), "paired BCa bootstrap"

    try:
        if request.function is None:
            delta = _weighted_delta(request.name, pair, seed, change)
        else:
            delta = _generic_delta(request.name, metric, pair, seed)
    except ValueError as e:
        raise DataError(f"metrics: no interval for '{request.name}': {e}") from e
    return delta, "paired BCa bootstrap"


def _weighted_delta(name: str, pair: Pair, seed: int, change: float) -> Estimate:
    """The interval of a metric of mlopt's, which is computed on many resamples at once.

    The value is the change that torchmetrics found; in single precision, it is another one than
    that of the weighted forms in the eighth digit.
    """
    candidate, baseline = (
        weighted_metric(name, outputs, pair.targets, pair.classes)
        for outputs in (pair.candidate, pair.baseline)
    )
    progress = _Progress(name)

    def statistic(weights: Array) -> Array:
        progress.advance(len(weights))
        deltas: Array = candidate(weights) - baseline(weights)
        return deltas

    found = stats.weighted_delta(statistic, len(pair.targets), seed=seed)
    assert found.low is not None
    assert found.high is not None
    return Estimate(value=change, low=min(found.low, change), high=max(found.high, change))


def _generic_delta(name: str, metric: Metric, pair: Pair, seed: int) -> Estimate:
    """The interval of a metric of the user's, which is called on each resample."""
    progress = _Progress(name)

    def statistic(rows: Array) -> float:
        progress.advance(1)
        truth = pair.targets[rows]
        try:
            return metric(pair.candidate[rows], truth) - metric(pair.baseline[rows], truth)
        except ConfigError:  # the user's function works on all examples, and not on these
            return float("nan")

    return stats.bootstrap_delta(statistic, len(pair.targets), seed=seed)


class _Progress:
    """Says about once a second how far a bootstrap has come."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._resamples = 0
        self._said = time.monotonic()

    def advance(self, resamples: int) -> None:
        """Counts resamples that are about to be computed."""
        now = time.monotonic()
        if now - self._said >= _PROGRESS_INTERVAL_S:
            emit(f"comparing: interval of '{self._metric}', {self._resamples} resamples")
            self._said = now
        self._resamples += resamples


def _right_and_wrong(request: MetricRequest, pair: Pair) -> tuple[int | None, int | None]:
    """How many examples became right and wrong; (None, None) for other metrics than accuracy."""
    if request.function is not None or request.name != "accuracy":
        return None, None
    now, before = (predicted_classes(o) == pair.targets for o in (pair.candidate, pair.baseline))
    return int((now & ~before).sum()), int((~now & before).sum())

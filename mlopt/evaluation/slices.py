"""What became of each part of the examples: each class, and each slice that the user named."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from mlopt import stats
from mlopt.errors import ConfigError, DataError
from mlopt.evaluation.deltas import change_of
from mlopt.evaluation.metrics import BUILTIN, Metric, builtin_metric
from mlopt.evaluation.pairs import Pair, outcomes, scores
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import SliceResult
from mlopt.types.task import IGNORED, Task

Array = np.ndarray[Any, Any]

_ERROR = 0.05
_RIGHT_OR_WRONG: dict[Task, str] = {
    "classification": "accuracy",
    "token_classification": "token_accuracy",
    "question_answering": "exact_match",
}


class Deciding(NamedTuple):
    """The metric that decides.

    Attributes:
        function: The user's own; None for one of mlopt's.
    """

    name: str
    function: Metric | None
    higher_is_better: bool


def slice_results(
    deciding: Deciding, pair: Pair, task: Task, masks: Mapping[str, Array], seed: int
) -> list[SliceResult]:
    """Every slice of a candidate, the one that most surely lost first.

    All have one metric, so that they can be compared: the deciding one where it is a mean over
    examples or tokens. F1 and AUROC of one class say nothing, and neither does R2 of examples that
    are alike: in their place stands the share of right answers, or the squared error. So it does
    in that of the user's own metric; where nothing is right or wrong, that one is called on each
    slice, and a slice on which it is not defined is left out.

    The p-values are of one-sided tests that the slice lost nothing, adjusted by Holm for all of
    them: McNemar's for right and wrong, by the design effect where units are drawn; Student's t of
    the units' means for other means; the normal one by the width of the bootstrap's interval for a
    metric of the user's.

    Args:
        deciding: The metric that decides.
        pair: The answers to all examples.
        task: What they answer.
        masks: Of the user's slices, shape (N,).
        seed: For the bootstrap.
    """
    metric = _metric_of_slices(deciding, task)
    found = []
    for name, part in _parts(pair, task, masks):
        loss = _loss(metric, part, seed)
        if loss is not None:
            found.append((name, len(part.targets), loss))
    if not found:
        return []
    adjusted = stats.holm([loss.p_value for _, _, loss in found])
    confidence = 1 - _ERROR / len(found)
    order = sorted(
        range(len(found)),
        key=lambda i: (found[i][2].p_value, metric.sign * found[i][2].delta.value),
    )
    return [_result(metric.name, found[i], adjusted[i], confidence) for i in order]


class _Slicing(NamedTuple):
    """The metric of all slices; the user's function where there is no other."""

    name: str
    function: Metric | None
    higher_is_better: bool

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return 1.0 if self.higher_is_better else -1.0


class _Loss(NamedTuple):
    """A slice before it is known how many there are.

    Attributes:
        p_value: Of the test that it lost nothing.
        least: From a confidence to the best end of the two-sided interval, as a loss.
    """

    value: float
    baseline: float
    delta: Estimate
    p_value: float
    least: Callable[[float], float]


def _metric_of_slices(deciding: Deciding, task: Task) -> _Slicing:
    builtin = BUILTIN[deciding.name] if deciding.function is None else None
    name = deciding.name
    if builtin is None and task not in _RIGHT_OR_WRONG:
        return _Slicing(name, deciding.function, deciding.higher_is_better)
    if builtin is None or not (builtin.per_example or builtin.is_provable):
        name = _RIGHT_OR_WRONG.get(task, "mse")
    return _Slicing(name, None, BUILTIN[name].higher_is_better)


def _parts(pair: Pair, task: Task, masks: Mapping[str, Array]) -> Iterator[tuple[str, Pair]]:
    """The classes in their order, then the user's slices."""
    if task == "classification":
        for number in np.unique(pair.targets):
            yield f"class {number}", pair.part(pair.targets == number)
    elif task == "token_classification":
        for number in np.unique(pair.targets[pair.targets != IGNORED]):
            of_class = pair.targets == number
            only = pair._replace(targets=np.where(of_class, pair.targets, IGNORED))
            yield f"class {number}", only.part(of_class.any(axis=1))
    for name, mask in masks.items():
        yield name, pair.part(mask)


def _loss(metric: _Slicing, part: Pair, seed: int) -> _Loss | None:
    """None where the user's metric is not defined on the slice."""
    if metric.function is not None:
        return _of_users(metric, metric.function, part, seed)
    function = builtin_metric(metric.name, part.classes)
    value, base = function(part.candidate, part.targets), function(part.baseline, part.targets)
    if not math.isfinite(value - base):
        return None  # no token of it counts
    change = change_of(metric.name, None, part, value - base, seed)
    if not BUILTIN[metric.name].is_provable:
        return _of_means(metric, part, (value, base), change.delta)
    counts = outcomes(metric.name, part)
    if part.groups is None and change.gained is not None and change.lost is not None:
        p_value = stats.mcnemar_one_sided(change.gained, change.lost)
        gained, lost, n = change.gained, change.lost, len(part.targets)
        return _Loss(
            value,
            base,
            change.delta,
            p_value,
            lambda confidence: -stats.tango_interval(gained, lost, n, confidence)[1],
        )
    return _Loss(
        value,
        base,
        change.delta,
        stats.clustered_mcnemar_one_sided(*counts),
        lambda confidence: -stats.clustered_tango_interval(*counts, confidence)[1],
    )


def _of_means(metric: _Slicing, part: Pair, values: tuple[float, float], delta: Estimate) -> _Loss:
    """Student's test of the mean over units; the ratio of sums where these have several examples.

    No test that looks at signs alone finds less than 1/2 to the power of the number of units, and
    none that finds less is believed.
    """
    now, before = scores(metric.name, part)
    index = np.arange(len(now)) if part.groups is None else part.groups
    changes, sizes = np.bincount(index, metric.sign * (now - before)), np.bincount(index)
    changes, sizes = changes[sizes > 0], sizes[sizes > 0]
    units, mean = len(sizes), float(changes.sum() / sizes.sum())
    spread = changes - mean * sizes
    error = math.sqrt(float((spread**2).sum()) * units / max(units - 1, 1)) / float(sizes.sum())
    if units == 1 or mean == 0:
        p_value = 1.0 if mean >= 0 else 0.5
    else:
        score = mean / error if error > 0 else math.copysign(math.inf, mean)
        p_value = max(float(special.stdtr(units - 1, score)), 0.5**units)

    def least(confidence: float) -> float:
        if units == 1 or (1 - confidence) / 2 < 0.5**units:
            return -math.inf
        return -mean - float(special.stdtrit(units - 1, (1 + confidence) / 2)) * error

    return _Loss(*values, delta, p_value, least)


def _of_users(metric: _Slicing, function: Metric, part: Pair, seed: int) -> _Loss | None:
    try:
        value, base = (function(answers, part.targets) for answers in part[:2])
        if not math.isfinite(value - base):
            return None
        delta = change_of(metric.name, function, part, value - base, seed).delta
    except (ConfigError, DataError):
        return None
    assert delta.low is not None
    assert delta.high is not None
    error = (delta.high - delta.low) / 2 / float(special.ndtri(0.975))
    mean = metric.sign * delta.value

    def least(confidence: float) -> float:
        return -mean - float(special.ndtri((1 + confidence) / 2)) * error

    p_value = float(special.ndtr(mean / error)) if error > 0 else 1.0
    return _Loss(value, base, delta, p_value if mean != 0 else 1.0, least)


def _result(
    metric: str, found: tuple[str, int, _Loss], p_value: float, confidence: float
) -> SliceResult:
    name, examples, loss = found
    return SliceResult(
        name=name,
        metric=metric,
        examples=examples,
        value=loss.value,
        baseline_value=loss.baseline,
        delta=loss.delta,
        p_value=p_value,
        least_loss=max(0.0, loss.least(confidence)),
    )

"""Compare the answers of candidates with the baseline's, example by example.

Runs in a worker process: metrics may be the user's own code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.errors import DataError
from mlopt.evaluation.deltas import Change, change_of
from mlopt.evaluation.flips import broken_rate, flip_rate
from mlopt.evaluation.members import Members
from mlopt.evaluation.metrics import BUILTIN, metric_of
from mlopt.evaluation.pairs import Pair
from mlopt.evaluation.slices import Deciding, slice_results
from mlopt.store.snapshot import Snapshot
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import MetricResult, SliceResult
from mlopt.types.record import Record
from mlopt.types.task import NO_TOKEN, Task
from mlopt.workers import emit

Array = np.ndarray[Any, Any]

FEWEST_TO_TELL = 20
"""Outputs that must all lie within 0 and 1 before they are taken for probabilities."""


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


def compare(
    outputs: dict[str, str],
    baseline: str,
    snapshot: str,
    split: str,
    metrics: list[dict[str, Any]],
    task: Task,
    project_dir: str,
    seed: int,
    slices: dict[str, str] | None = None,
    groups: str | None = None,
    members: str | None = None,
) -> dict[str, Any]:
    """Compares every candidate with the baseline.

    Args:
        outputs: File of what is scored of each candidate, ``.npy``, the baseline's among them.
        baseline: Its name.
        snapshot: Directory of the split.
        split: Its name.
        metrics: As :class:`MetricRequest`, in JSON.
        task: What the outputs are. For feature extraction, the baseline's take the place of
            targets: always with a metric of mlopt's, and with one of the user's where the split has
            none.
        project_dir: Where the user's code is imported from.
        seed: For the bootstrap.
        slices: Function (``module:function``) of each slice that the user named.
        groups: ``module:function`` that says which examples belong together.
        members: File ``.npz`` of what these two gave, which is read where it is there, and they are
            not called then; else it is written. None: they are called.

    Returns:
        For each candidate, ``metrics`` (a list of :class:`MetricResult`), ``flip_rate``,
        ``broken_rate`` and ``slices`` (a list of :class:`~mlopt.types.measurement.SliceResult`; none
        of the baseline, which lost nothing); or ``error``, why it cannot be compared.

    Raises:
        ConfigError: A metric of the user's cannot be imported, or fails on the baseline; or a slice
            or the groups are not what they must be.
        DataError: A metric is not defined on this data.
    """
    reference = np.load(outputs[baseline])
    truth = _truth(Path(snapshot), split, task, reference)
    requests = [MetricRequest.model_validate(m) for m in metrics]
    if any(request.function is None and request.name != "auroc" for request in requests):
        refuse_probabilities(reference, task)
    belonging = _members(Path(snapshot), split, slices or {}, groups, Path(project_dir), members)
    found: dict[str, Any] = {}
    for number, (name, path) in enumerate(outputs.items()):
        pair = Pair(np.load(path), reference, truth, belonging.groups)
        try:
            results = [
                _result(request, pair, split, Path(project_dir), seed, name == baseline)
                for request in requests
            ]
            parts = []
            if requests and name != baseline:
                parts = _slices(requests[0], pair, task, belonging, Path(project_dir), seed)
            found[name] = {
                "metrics": [result.model_dump(mode="json") for result in results],
                "flip_rate": flip_rate(pair, task),
                "broken_rate": broken_rate(pair, task),
                "slices": [part.model_dump(mode="json") for part in parts],
            }
        except Exception as e:
            if name == baseline:
                raise
            found[name] = {"error": str(e)}  # it costs this candidate, and no other
        emit("comparing", (number + 1) / len(outputs))
    return found


def _members(
    snapshot: Path,
    split: str,
    slices: dict[str, str],
    groups: str | None,
    project_dir: Path,
    members: str | None,
) -> Members:
    if members is not None and Path(members).is_file():
        return Members.read(Path(members))
    found = Members.of(Snapshot(snapshot), split, slices, groups, project_dir)
    if members is not None and (slices or groups is not None):
        found.write(Path(members))
    return found


def _truth(snapshot: Path, split: str, task: Task, reference: Array) -> Array:
    targets = Snapshot(snapshot).targets
    if targets is not None:
        return np.array(targets)
    if task != "feature_extraction":
        raise DataError(f"data.{split} has no targets to score against.")
    return reference


def refuse_probabilities(outputs: Array, task: Task) -> None:
    """Refuses probabilities where logits are read, and the difference matters.

    The sign of a single output would be taken for the class, and every score would be silently
    wrong. The sum of two probabilities does not rank spans as the sum of their logits does.

    Raises:
        DataError: All of at least 20 outputs lie within 0 and 1, and are not all equal.
    """
    if task == "classification" and (outputs.ndim == 1 or outputs.shape[1:] == (1,)):
        what, values = "single output lies", outputs
        mend = (
            "a logit, whose sign is the class. Leave the sigmoid out of the model, or give one output "
            "for each class."
        )
    elif task == "question_answering":
        what, values = "two outputs lie", outputs[outputs > NO_TOKEN]
        mend = "logits, whose sum ranks the spans. Leave the softmax out of the model."
    else:
        return
    if len(values) < FEWEST_TO_TELL:
        return
    low, high = float(values.min()), float(values.max())
    if 0.0 <= low < high <= 1.0:
        raise DataError(
            f"metrics: the model's {what} between {low:.3g} and {high:.3g} on all {len(outputs)} "
            f"examples: it looks like a probability, and mlopt reads {mend}"
        )


def _slices(
    request: MetricRequest,
    pair: Pair,
    task: Task,
    belonging: Members,
    project_dir: Path,
    seed: int,
) -> list[SliceResult]:
    """Of the metric that decides, which is the first one."""
    function = None
    if request.function is not None:
        place = f"metrics ({request.name})"
        function = metric_of(request.name, request.function, pair.baseline, project_dir, place)
    elif BUILTIN[request.name].task == "feature_extraction":
        pair = pair._replace(targets=pair.baseline)
    deciding = Deciding(request.name, function, request.higher_is_better)
    return slice_results(deciding, pair, task, belonging.slices, seed)


def _result(
    request: MetricRequest, pair: Pair, split: str, project_dir: Path, seed: int, is_baseline: bool
) -> MetricResult:
    builtin = BUILTIN[request.name] if request.function is None else None
    if builtin is not None and builtin.task == "feature_extraction":
        pair = pair._replace(targets=pair.baseline)
    place = f"metrics ({request.name})"
    metric = metric_of(request.name, request.function, pair.baseline, project_dir, place)
    value, base = metric(pair.candidate, pair.targets), metric(pair.baseline, pair.targets)
    if not np.isfinite([value, base]).all():
        raise DataError(
            f"metrics: '{request.name}' is not defined on data.{split} (it gives {value}): "
            "it may need more than one class, or more examples."
        )
    if is_baseline:
        count = 0 if builtin is not None and builtin.outcome == "right or wrong" else None
        nothing = Estimate(value=0.0, low=0.0, high=0.0)
        change = Change(nothing, "the baseline itself", gained=count, lost=count)
        change = change._replace(p_value=None if count is None else 1.0)
    else:
        own = metric if builtin is None else None
        change = change_of(request.name, own, pair, value - base, seed)
    drop = request.max_drop
    if drop is not None and request.relative:
        drop *= abs(base)
    return MetricResult(
        name=request.name,
        split=split,
        examples=len(pair.targets),
        value=value,
        baseline_value=base,
        delta=change.delta,
        higher_is_better=request.higher_is_better,
        max_drop=drop,
        method=change.method,
        gained=change.gained,
        lost=change.lost,
        p_value=change.p_value,
        units=pair.units,
    )

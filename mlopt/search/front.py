"""What a search minimises, and which of the candidates that it saw no other one beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlopt.types.run import CandidateResult, Run
from mlopt.types.search import SearchSummary

Objectives = tuple[float, float]
"""The p50 over the baseline's at the first workload, and the loss of the first metric."""


def objectives(result: CandidateResult) -> Objectives | None:
    """What is minimised of a candidate, on selection; None where it failed or was not measured.

    A candidate that left the race early has been timed like any other, in fewer rounds. Where
    nothing is scored, nothing is lost.
    """
    evidence = result.selection
    if result.failure is not None or evidence is None or not evidence.measurements:
        return None
    ratio = evidence.measurements[0].p50_ratio
    if ratio is None:
        return None
    metric = next(iter(evidence.quality.metrics), None) if evidence.quality is not None else None
    if metric is None:
        return ratio.value, 0.0
    return ratio.value, -metric.delta.value if metric.higher_is_better else metric.delta.value


def pareto_front(points: Mapping[str, Objectives]) -> tuple[str, ...]:
    """Names of the points that no other one beats, the fastest first.

    A point beats another when it is no larger in either objective and smaller in one. Equal points
    stand on the front together.
    """
    return tuple(
        sorted(
            (name for name, point in points.items() if not _is_beaten(point, points)),
            key=lambda name: points[name],
        )
    )


def _is_beaten(point: Objectives, points: Mapping[str, Objectives]) -> bool:
    return any(
        other != point and all(a <= b for a, b in zip(other, point, strict=True))
        for other in points.values()
    )


def summarize_search(
    recipe: str,
    method: str,
    choices: Mapping[str, Sequence[Any]],
    asked: Sequence[str],
    run: Run,
) -> SearchSummary:
    """Counts what became of the candidates that a search asked for.

    Args:
        recipe: Whose choices they are.
        method: How they were chosen, in words.
        choices: The values of each choice, by its label.
        asked: Names of the candidates.
        run: What was seen of them.
    """
    results = [result for result in run.candidates if result.name in set(asked)]
    points = {r.name: point for r in results if (point := objectives(r)) is not None}
    failed = sum(result.failure is not None for result in results)
    return SearchSummary(
        recipe=recipe,
        method=method,
        choices={label: tuple(values) for label, values in choices.items()},
        size=math.prod(map(len, choices.values())),
        asked=tuple(asked),
        seen=len(points) + failed,
        failed=failed,
        front=pareto_front(points),
    )

"""Comparison of arrays, as a worker would do it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.evaluation.comparison import compare
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.measurement import MetricResult, SliceResult
from mlopt.types.task import Task

Array = np.ndarray[Any, Any]
_numbers = itertools.count()


class Compared:
    """What :func:`compare` found, by candidate."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def metric(self, candidate: str, position: int = 0) -> MetricResult:
        return MetricResult.model_validate(self.found[candidate]["metrics"][position])

    def slices(self, candidate: str) -> list[SliceResult]:
        return [SliceResult.model_validate(s) for s in self.found[candidate]["slices"]]

    def flip_rate(self, candidate: str) -> float | None:
        return self.found[candidate]["flip_rate"]


Compare = Callable[..., Compared]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Compare]:
    """Compares arrays; the first one is the baseline."""

    def comparison(
        targets: Array | None,
        *requests: dict[str, Any],
        task: Task = "classification",
        seed: int = 0,
        slices: dict[str, str] | None = None,
        groups: str | None = None,
        members: Path | None = None,
        **outputs: Array,
    ) -> Compared:
        split = tmp_path / f"split-{next(_numbers)}"
        examples = len(next(iter(outputs.values())))
        with SnapshotWriter(split) as writer:
            writer.append({"x": np.arange(examples)}, targets)
            writer.finish()
        files = {}
        for name, array in outputs.items():
            files[name] = str(tmp_path / f"{name}.npy")
            np.save(files[name], array)
        return Compared(
            compare(
                outputs=files,
                baseline=next(iter(outputs)),
                snapshot=str(split),
                split="selection",
                metrics=list(requests),
                task=task,
                project_dir=str(tmp_path),
                seed=seed,
                slices=slices,
                groups=groups,
                members=None if members is None else str(members),
            )
        )

    path = list(sys.path)
    yield comparison
    sys.path[:] = path

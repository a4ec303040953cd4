"""How long a rate is tried, and how long a request may wait: decided before anything is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlopt.profiling.load import LoadSetting
from mlopt.types.candidate import Stage
from mlopt.types.workload import Workload
from mlopt.workers import Limits


def setting(**changes: Any) -> LoadSetting:
    return LoadSetting(
        stage=Stage(artifact="a", runner="onnxruntime", provider="cpu"),
        workload=Workload(),
        callers=(1,),
        rates=(),
        p99_budget_ms=5,
        search=False,
        seconds=20,
        most_seconds=60,
        closed_seconds=2,
        launches=5,
        pool=4,
        warmup=1,
        snapshot=Path(),
        project_dir=Path(),
        limits=Limits(),
        seed=0,
        run_dir=Path(),
        file_stem="a",
    )._replace(**changes)


@pytest.mark.parametrize(
    ("rate", "capacity", "seconds"),
    [
        (1000, None, 20),
        (100, None, 25),
        (10, None, 60),
        (200, 400, 50),
        (200, 100_000, 20),
        (5000, 5000, 50),
        (5000, 2500, 50),
    ],
)
def test_a_rate_is_tried_for_longer_where_requests_are_few_or_depend_on_each_other(
    rate: float, capacity: float | None, seconds: float
) -> None:
    assert setting().seconds_at(rate, capacity) == pytest.approx(seconds, rel=0.01)


def test_the_time_that_the_user_gives_is_the_time_that_is_taken() -> None:
    assert setting(seconds=3, most_seconds=3).seconds_at(10, 11) == 3


@pytest.mark.parametrize(("budget_ms", "patience_s"), [(5, 0.2), (100, 2), (None, 1)])
def test_a_request_may_wait_for_many_times_the_budget(
    budget_ms: float | None, patience_s: float
) -> None:
    assert setting(p99_budget_ms=budget_ms).patience_ns == round(patience_s * 1e9)


def test_a_setting_without_a_limit_is_never_over() -> None:
    assert not setting().is_over()
    assert setting(until=0.0).is_over()

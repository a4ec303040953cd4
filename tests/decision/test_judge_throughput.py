"""A line on throughput: the one lower limit, judged on what was shown to be sustained."""

from __future__ import annotations

import pytest
from made_by_hand import evidence, interval, measured

from mlopt.decision import judge
from mlopt.types.budget import BudgetLine
from mlopt.types.decision import Outcome, Verdict
from mlopt.types.estimate import Estimate
from mlopt.types.load import LoadResult
from mlopt.types.workload import Workload


def verdict(
    rate: Estimate | None, line: str = "throughput >= 200 /s", batch_size: int = 1
) -> Verdict:
    load = LoadResult(
        workload=Workload(batch_size=batch_size),
        threads=2,
        p99_budget_ms=5,
        points=(),
        sustained_per_s=rate,
        stopped_because="done",
    )
    seen = evidence(measured(interval(1))).model_copy(update={"load": (load,)})
    (found,) = judge([BudgetLine.parse(line)], seen, None)
    assert (found.settles is None) == (found.outcome != "INCONCLUSIVE")
    return found


@pytest.mark.parametrize(
    ("rate", "outcome", "shown"),
    [
        (Estimate(value=200, low=200), "PASS", "sustained at 200 /s"),
        (Estimate(value=250, low=250, high=260), "PASS", "sustained at 250 /s, not at 260 /s"),
        (Estimate(value=200, high=200), "FAIL", "not sustained at 200 /s"),
        (Estimate(value=90, low=90, high=100), "FAIL", "sustained at 90 /s, not at 100 /s"),
        (Estimate(value=150, low=150), "INCONCLUSIVE", "sustained at 150 /s"),
        (
            Estimate(value=150, low=150, high=201),
            "INCONCLUSIVE",
            "sustained at 150 /s, not at 201 /s",
        ),
        (None, "INCONCLUSIVE", "not observed"),
    ],
)
def test_what_was_shown_to_be_sustained_decides(
    rate: Estimate | None, outcome: Outcome, shown: str
) -> None:
    found = verdict(rate)
    assert found.outcome == outcome
    assert found.shown == shown


def test_a_line_on_throughput_is_judged_on_its_own_workload() -> None:
    rate = Estimate(value=300, low=300)
    assert verdict(rate, "throughput >= 200 /s @ batch-8", batch_size=8).outcome == "PASS"
    assert verdict(rate, "throughput >= 200 /s @ batch-8").outcome == "INCONCLUSIVE"


def test_a_candidate_that_was_not_put_under_load_stays_open() -> None:
    line = BudgetLine.parse("throughput >= 200 /s")
    (found,) = judge([line], evidence(measured(interval(1))), None)
    assert found.outcome == "INCONCLUSIVE"
    assert "under a load of 200 /s" in (found.settles or "")

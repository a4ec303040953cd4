"""From the requests of a load to what may be said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_load_callers import FOREVER, MS, SERVICE, SimulatedClock

from mlopt.profiling.load_callers import UNSERVED, Served, open_loop
from mlopt.profiling.load_session import poisson_arrivals
from mlopt.profiling.load_summary import Frame, LoadSamples, is_sustained, load_point
from mlopt.types.estimate import Estimate
from mlopt.types.load import LoadPoint
from mlopt.types.tensors import ArrayRef

NOWHERE = ArrayRef(path="a.npz", sha256="0", dtype="int64", shape=(1,))
FRAME = Frame.of(10.0, 12)


def simulated(rate: float, patience_ns: int = FOREVER, launches: int = 5) -> list[Served]:
    """M/D/1 queues: arrivals at ``rate`` a second, a server of 2 ms."""
    found = []
    for launch in range(launches):
        clock = SimulatedClock()
        due = poisson_arrivals(rate, FRAME.length_ns, [launch])
        found.append(open_loop([[clock.server()]], due, patience_ns, warmup=0, clock=clock))
    return found


def point(served: list[Served], budget_ms: float | None, rate: float | None = 100) -> LoadPoint:
    return load_point(
        LoadSamples.of(served, FRAME),
        NOWHERE,
        loop="closed" if rate is None else "open",
        callers=1,
        rate_per_s=rate,
        p99_budget_ms=budget_ms,
        seed=0,
    )


def test_the_tail_of_a_queue_is_far_above_its_service_time() -> None:
    seen = point(simulated(350), 100, 350)
    assert seen.p50_ms is not None
    assert seen.p99_ms is not None
    assert seen.p99_ms.low is not None
    assert seen.p99_ms.low > 3 * SERVICE / MS
    assert seen.sustained is True
    assert seen.throughput_per_s is not None
    assert seen.throughput_per_s.value == pytest.approx(350, rel=0.03)
    assert seen.launches == 5
    assert seen.slices == 60
    assert seen.seconds == pytest.approx(50)


@pytest.mark.parametrize(("budget_ms", "sustained"), [(30.0, True), (4.0, False)])
def test_a_rate_is_sustained_when_its_p99_lies_under_the_budget(
    budget_ms: float, *, sustained: bool
) -> None:
    assert point(simulated(350), budget_ms, 350).sustained is sustained


def test_a_load_that_was_cut_off_has_no_level_and_is_not_sustained() -> None:
    seen = point(simulated(700, patience_ns=200 * MS), 50, 700)
    assert seen.was_cut_off
    assert seen.unserved > 0
    assert seen.sustained is False
    assert seen.p50_ms is None
    assert seen.p99_ms is None


def test_a_queue_that_grows_slowly_is_not_sustained_though_nobody_cut_it_off() -> None:
    seen = point(simulated(520), 50, 520)
    assert not seen.was_cut_off
    assert seen.sustained is False


def test_the_lead_in_takes_no_part_in_the_estimates() -> None:
    slow = Served([10**9] * 50, [i * FRAME.lead_ns // 50 for i in range(50)])
    length = FRAME.length_ns - FRAME.lead_ns
    rest = Served([MS] * 600, [FRAME.lead_ns + i * length // 600 for i in range(600)])
    both = Served(slow.latency_ns + rest.latency_ns, slow.due_ns + rest.due_ns)
    seen = point([both], None)
    assert seen.requests == 600
    assert seen.p50_ms is not None
    assert (seen.p50_ms.value, seen.p50_ms.high) == (1.0, 1.0)


def test_a_few_requests_allow_no_p99_and_no_verdict() -> None:
    seen = point([Served([MS] * 20, [i * 10**8 for i in range(20)])], 5)
    assert seen.p99_ms is None
    assert seen.sustained is None


def test_without_a_budget_nothing_is_sustained_or_not() -> None:
    seen = point(simulated(350, launches=2), None, 350)
    assert seen.sustained is None
    assert seen.late_share is None


def test_a_load_of_which_nothing_was_served_is_told_as_it_is() -> None:
    seen = point([Served([UNSERVED] * 3, [0, 1, 2])], 5)
    assert (seen.requests, seen.unserved, seen.throughput_per_s) == (0, 3, None)
    assert seen.sustained is False


SURE, UNSURE = Estimate(value=0.5, low=0.4, high=0.6), Estimate(value=0.5, low=0.005, high=0.9)
NEVER, RARE = Estimate(value=0.0, low=0.0, high=0.0), Estimate(value=0.006, low=0.0, high=0.02)


@pytest.mark.parametrize(
    ("p99", "late", "unserved", "requests", "effective", "expected"),
    [
        (Estimate(value=4, low=3, high=5), NEVER, 0, 5000, 5000, True),
        (Estimate(value=4, high=5), NEVER, 0, 2000, 740, True),
        # None late among 367 does not exclude 1% of all: 0.99^367 is over 2.5%.
        (Estimate(value=4, high=5), NEVER, 0, 2000, 2 * 366, None),
        (Estimate(value=4, low=3, high=5), RARE, 0, 9000, 9000, True),
        (Estimate(value=4, low=3, high=5), RARE, 0, 9000, 1000, None),
        (Estimate(value=4, low=3, high=5.1), NEVER, 0, 5000, 5000, None),
        (Estimate(value=6, low=5.1, high=7), SURE, 0, 5000, 5000, False),
        (Estimate(value=4, low=3, high=5), NEVER, 1, 5000, 5000, False),
        (None, SURE, 0, 5000, 100, False),
        (None, UNSURE, 0, 5000, 100, None),
        (None, SURE, 0, 99, 99, None),
        (None, Estimate(value=1.0), 0, 5000, 1, None),
        (None, None, 0, 0, 0, None),
    ],
)
def test_the_p99_and_the_late_share_decide_together(
    p99: Estimate | None,
    late: Estimate | None,
    unserved: int,
    requests: int,
    effective: float,
    *,
    expected: bool | None,
) -> None:
    counts = {"unserved": unserved, "requests": requests, "effective": effective}
    assert is_sustained(p99, late, 5.0, **counts) is expected


def test_a_queue_whose_p99_is_the_budget_is_seldom_called_sustained() -> None:
    # M/D/1 at 70%, 20 s in all; the true p99 of an hour of it is 15.2 ms.
    frame = Frame.of(4.0, 12)
    verdicts = []
    for run in range(40):
        served = []
        for launch in range(5):
            due = poisson_arrivals(350, frame.length_ns, [run, launch])
            served.append(Served(queued(due), due))
        samples = LoadSamples.of(served, frame)
        found = load_point(
            samples,
            NOWHERE,
            loop="open",
            callers=1,
            rate_per_s=350,
            p99_budget_ms=15.2,
            seed=0,
        )
        verdicts.append(found.sustained)
    assert verdicts.count(True) <= 3, "2.5% of 40 is 1, and 3 have a probability below 2%"
    assert None in verdicts


def queued(due: list[int]) -> list[int]:
    """Sojourn times behind a server of 2 ms, by Lindley's recursion."""
    free, found = 0, []
    for moment in due:
        free = max(free, moment) + SERVICE
        found.append(free - moment)
    return found


def test_stored_requests_are_read_as_they_were(tmp_path: Path) -> None:
    samples = LoadSamples.of([Served([5, UNSERVED], [0, 3]), Served([7], [1])], FRAME)
    reference = samples.write(tmp_path, "samples/load.npz")
    again = LoadSamples.read(tmp_path, reference)
    assert again.frame == FRAME
    assert reference.shape == (3,)
    for before, after in zip(samples[:3], again[:3], strict=True):
        assert np.array_equal(before, after)
        assert after.dtype == np.int64
    assert again.launch.tolist() == [0, 0, 1]

"""From the requests of a load to what may be said of it; nothing is measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlopt import stats
from mlopt.profiling.load_callers import UNSERVED, Served
from mlopt.store.arrays import read_arrays, write_array
from mlopt.types.estimate import Estimate
from mlopt.types.load import LoadPoint, LoopKind
from mlopt.types.tensors import ArrayRef

TAIL = 0.99
LEAST_REQUESTS = 100
"""Fewer do not show that more than 1% of all requests are late."""

Int64s = NDArray[np.int64]


class Frame(NamedTuple):
    """How the time of one launch is divided.

    Attributes:
        lead_ns: The beginning, in which the queue finds its level from an empty one. What was due
            in it is stored and takes no part in the estimates.
        slice_ns: Length of one block of time.
        slices: Number of blocks after the lead-in.
    """

    lead_ns: int
    slice_ns: int
    slices: int

    @property
    def length_ns(self) -> int:
        """The whole of a launch."""
        return self.lead_ns + self.slices * self.slice_ns

    @classmethod
    def of(cls, seconds: float, slices: int) -> Self:
        """``seconds`` in so many slices, after a lead-in of a tenth of them."""
        slice_ns = max(1, round(seconds * 1e9 / slices))
        return cls(lead_ns=round(0.1 * slices * slice_ns), slice_ns=slice_ns, slices=slices)


class LoadSamples(NamedTuple):
    """Every request of one load, the launches one after the other.

    Attributes:
        latency_ns: Shape (N,); -1 where one was not served.
        due_ns: Shape (N,); from the beginning of its launch.
        launch: Shape (N,).
    """

    latency_ns: Int64s
    due_ns: Int64s
    launch: Int64s
    frame: Frame

    @classmethod
    def of(cls, launches: list[Served], frame: Frame) -> Self:
        """Puts launches together."""
        counts = [len(one.latency_ns) for one in launches]
        return cls(
            _joined([one.latency_ns for one in launches]),
            _joined([one.due_ns for one in launches]),
            np.repeat(np.arange(len(launches), dtype=np.int64), counts),
            frame,
        )

    def write(self, run_dir: Path, path: str) -> ArrayRef:
        """Stores everything below ``run_dir``."""
        return write_array(
            run_dir,
            path,
            latency_ns=self.latency_ns,
            due_ns=self.due_ns,
            launch=self.launch,
            frame=np.array(self.frame, dtype=np.int64),
        )

    @classmethod
    def read(cls, run_dir: Path, reference: ArrayRef) -> Self:
        """Reads what :meth:`write` wrote.

        Raises:
            OSError: The file is not there.
            KeyError: It holds something else.
        """
        arrays = read_arrays(run_dir, reference)
        frame = Frame(*arrays["frame"].tolist())
        return cls(arrays["latency_ns"], arrays["due_ns"], arrays["launch"], frame)


def load_point(
    samples: LoadSamples,
    reference: ArrayRef,
    *,
    loop: LoopKind,
    callers: int,
    rate_per_s: float | None,
    p99_budget_ms: float | None,
    seed: int,
) -> LoadPoint:
    """All that may be said of one load, from its requests alone.

    The launch is the outer level of the bootstrap and a slice of time the inner one, since the
    latencies in a queue are heavily autocorrelated.

    Args:
        samples: Every request.
        reference: Where they are stored.
        loop: How requests came.
        callers: How many served them.
        rate_per_s: Mean arrivals a second; None for a closed loop.
        p99_budget_ms: What "sustained" is measured by.
        seed: For the bootstrap.
    """
    unserved = int((samples.latency_ns == UNSERVED).sum())
    measured = _rounds(samples)
    p50 = p99 = late = None
    if measured is not None and p99_budget_ms is not None:
        over = (measured.values > p99_budget_ms).astype(np.float64)
        late = _share(stats.mean(_with(measured, over), seed=seed))
    if measured is not None and not unserved:
        p50 = stats.quantile(measured, 0.5, seed=seed)
        p99 = stats.tail_estimate(measured, TAIL, seed=seed)
    frame = samples.frame
    launches = np.unique(samples.launch).size
    return LoadPoint(
        loop=loop,
        callers=callers,
        rate_per_s=rate_per_s,
        samples=reference,
        seconds=launches * frame.slices * frame.slice_ns / 1e9,
        launches=launches,
        slices=0 if measured is None else measured.blocks,
        requests=0 if measured is None else measured.n,
        unserved=unserved,
        throughput_per_s=_throughput(samples, seed),
        p50_ms=p50,
        p99_ms=p99,
        late_share=late,
        sustained=None
        if p99_budget_ms is None
        else is_sustained(
            p99,
            late,
            p99_budget_ms,
            unserved=unserved,
            requests=0 if measured is None else measured.n,
            effective=0.0 if measured is None else stats.effective_samples(measured, TAIL),
        ),
    )


def is_sustained(
    p99: Estimate | None,
    late: Estimate | None,
    budget_ms: float,
    *,
    unserved: int,
    requests: int,
    effective: float,
) -> bool | None:
    """Whether the p99 keeps its budget; None when that cannot be told.

    Yes, when its whole interval, or its upper bound, lies under the budget, and the share of late
    requests is below 1% by Clopper & Pearson (Biometrika 26 (1934) 404-413) on *half* the
    effective number of requests. That number is itself read from a few bursts, and is largest just
    when they happened to be short: of simulated queues whose
    p99 was the budget (M/D/1 at 50, 70 and 84% of capacity, 5 launches, 20 s) the interval alone said
    yes in 6, 12 and 10 of 100, both together in 1, 5 and 6 of 150.

    No, when the interval lies over the budget; when over 1% of the requests are late for certain, which
    is the same said of the share, and needs no level of the tail to exist; or when the queue grew
    until the load was cut off.

    Args:
        p99: In milliseconds.
        late: Share of requests over the budget.
        budget_ms: The budget.
        unserved: Requests that still waited at the cut.
        requests: Number of those that the estimates stand on.
        effective: How many independent ones they are worth, for the p99.
    """
    if unserved:
        return False
    if late is None or (p99 is None and late.low is None):
        return None
    within = p99 is not None and p99.high is not None and p99.high <= budget_ms
    if within and _largest_share(late.value, effective / 2) <= 1 - TAIL:
        return True
    if p99 is not None and p99.low is not None and p99.low > budget_ms:
        return False
    if requests >= LEAST_REQUESTS and late.low is not None and late.low > 1 - TAIL:
        return False
    return None


def _largest_share(share: float, n: float) -> float:
    """The upper 97.5% bound of a share that was seen among ``n`` independent ones."""
    over = share * n
    return float(special.betaincinv(over + 1, n - over, 0.975)) if over < n else 1.0


def _rounds(samples: LoadSamples) -> stats.Rounds | None:
    """The latencies that were served after the lead-in, in ms, by launch and slice."""
    part = (samples.due_ns - samples.frame.lead_ns) // samples.frame.slice_ns
    kept = (part >= 0) & (part < samples.frame.slices) & (samples.latency_ns != UNSERVED)
    if not kept.any():
        return None
    return stats.Rounds(samples.latency_ns[kept] / 1e6, samples.launch[kept], part[kept])


def _throughput(samples: LoadSamples, seed: int) -> Estimate | None:
    """Requests answered a second, over the slices that lie wholly before the end of their launch."""
    frame = samples.frame
    rates: list[NDArray[np.float64]] = []
    launches: list[int] = []
    slices: list[int] = []
    for launch in np.unique(samples.launch):
        own = samples.launch == launch
        done = (samples.due_ns + samples.latency_ns)[own & (samples.latency_ns != UNSERVED)]
        was_cut = bool((samples.latency_ns[own] == UNSERVED).any())
        end_ns = int(done.max(initial=0)) if was_cut else frame.length_ns
        whole = min(frame.slices, max(0, (end_ns - frame.lead_ns) // frame.slice_ns))
        edges = frame.lead_ns + frame.slice_ns * np.arange(whole + 1)
        if whole:
            rates.append(np.histogram(done, edges)[0] / (frame.slice_ns / 1e9))
        launches += [int(launch)] * whole
        slices += list(range(whole))
    if not slices:
        return None
    answered = stats.Rounds(np.concatenate(rates), np.array(launches), np.array(slices))
    return stats.mean(answered, seed=seed)


def _with(rounds: stats.Rounds, values: NDArray[np.float64]) -> stats.Rounds:
    return stats.Rounds(values, rounds.launch, rounds.round)


def _share(estimate: Estimate) -> Estimate:
    """A share cannot lie outside 0 and 1, whatever the width of its interval."""
    low, high = estimate.low, estimate.high
    return Estimate(
        value=estimate.value,
        low=None if low is None else max(0.0, low),
        high=None if high is None else min(1.0, high),
    )


def _joined(parts: list[Any]) -> Int64s:
    return np.concatenate([np.array(part, dtype=np.int64) for part in parts])

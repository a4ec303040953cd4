"""What was observed of a candidate that serves requests: throughput, and latency under load."""

from __future__ import annotations

import math
from typing import Literal

from mlopt.types.estimate import Estimate
from mlopt.types.record import Record
from mlopt.types.tensors import ArrayRef
from mlopt.types.workload import Workload

LoopKind = Literal["closed", "open"]
"""``closed``: each caller sends the next request when its last one is answered. ``open``: requests
arrive by themselves (Poisson), whether or not a caller is free."""

HEADROOM = 0.3
"""Share of a replica's sustained rate that is kept free where nobody says otherwise."""


class LoadPoint(Record):
    """One kind of load, for a while.

    Attributes:
        callers: Threads that each answer one request at a time; together they serve one queue.
        rate_per_s: Mean arrivals a second; None for a closed loop.
        samples: Latencies in ns, int64 of shape (N,), -1 for a request that was never served;
            beside them when each was due, the launches, and the frame of time slices.
        seconds: Measured, the launches together, without the lead-in.
        slices: Blocks of time over all launches that hold a request: the rounds of the bootstrap.
        requests: That the estimates stand on.
        unserved: That still waited when the load was cut off, because one had waited too long.
        throughput_per_s: Requests answered a second; None when it was cut off at once.
        p50_ms: From when a request was due to when it was answered, waiting included. None when
            the load was cut off: the queue grows, and there is no level to be estimated.
        p99_ms: The same; None also when there are not enough samples; with ``high`` only, an
            upper bound.
        late_share: Share of the requests that took longer than the p99 budget; None without one.
        sustained: Whether the p99 is under its budget; None when that cannot be told, or there is
            no budget.
    """

    loop: LoopKind
    callers: int
    rate_per_s: float | None
    samples: ArrayRef
    seconds: float
    launches: int
    slices: int
    requests: int
    unserved: int
    throughput_per_s: Estimate | None
    p50_ms: Estimate | None
    p99_ms: Estimate | None
    late_share: Estimate | None = None
    sustained: bool | None = None

    @property
    def was_cut_off(self) -> bool:
        """Whether the queue grew until the load was ended."""
        return self.unserved > 0


class LoadResult(Record):
    """Candidate x workload, under several loads.

    Attributes:
        threads: Threads inside an operator of the session; None where nobody set them.
        p99_budget_ms: What "sustained" is measured by; None: nothing is.
        points: In the order of their measurement.
        sustained_per_s: The highest rate shown to be sustained as ``value`` and ``low``, and as
            ``high`` the lowest rate shown not to be. ``low`` is None where no rate is known to be
            sustained (then ``value`` is ``high``), ``high`` where none is known not to be.
        resolution: The relative distance of the two at which the search ends; None: no search.
        stopped_because: Why no more rates were tried.
    """

    workload: Workload
    threads: int | None
    p99_budget_ms: float | None
    points: tuple[LoadPoint, ...]
    sustained_per_s: Estimate | None
    resolution: float | None = None
    stopped_because: str
    seed: int = 0


def replicas(target_per_s: float, sustained_per_s: float, headroom: float = HEADROOM) -> int:
    """How many equal replicas serve a rate: ``ceil(target / (sustained * (1 - headroom)))``.

    Each replica is kept at the share ``1 - headroom`` of the rate that it was shown to sustain. A
    balancer that splits a Poisson stream at random gives each replica a Poisson stream again, so
    what was measured of one holds for each.

    Args:
        target_per_s: Requests a second to be served; positive.
        sustained_per_s: Highest rate that one replica sustains; positive.
        headroom: Share kept free, from 0 to less than 1.
    """
    needed = target_per_s / (sustained_per_s * (1 - headroom))
    return max(1, math.ceil(needed * (1 - 1e-12)))

"""A trial: candidates timed side by side, in launches of shuffled, interleaved rounds.

Randomized multiple interleaved trials (Abedi & Brecht, ICPE 2017): every round visits every
candidate once, in a freshly shuffled order, so that the machine's drift hits all of them alike.
Workers are launched anew several times, since the layout of a process's memory alone shifts its
latency by about 1% (Kalibera & Jones, ISMM 2013). One worker runs at a time; the others are
stopped, because an idle thread pool goes on spinning for tens of milliseconds.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from mlopt.errors import MloptError
from mlopt.types.candidate import Stage
from mlopt.types.measurement import Placement
from mlopt.types.plan import Schedule
from mlopt.types.run import Failure
from mlopt.workers import Limits, Worker

PILOT = 5

GRACE_S = 1.0
"""What a call that began before the deadline may take beyond it."""

SESSION = "mlopt.profiling.session:TimingSession"

Progress = Callable[[str, float, float | None], None]


class Contestant(NamedTuple):
    """A candidate in a trial."""

    name: str
    stage: Stage


@dataclass
class Observed:
    """What a trial has seen of one candidate so far.

    Attributes:
        samples: For each batch size, rows of (nanoseconds, launch, round).
        cold_start_ms: One for each launch.
        peak_rss_bytes: One for each launch.
        failure: Set when it fell out of the trial.
    """

    samples: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    cold_start_ms: list[float] = field(default_factory=list)
    peak_rss_bytes: list[float] = field(default_factory=list)
    placement: Placement | None = None
    failure: Failure | None = None

    def block_size(self, batch_size: int) -> int:
        """Samples in the first block of a workload; 0 when there is none."""
        rows = self.samples.get(batch_size, [])
        return sum(1 for _ in itertools.takewhile(lambda row: row[1:] == rows[0][1:], rows))

    def array(self, batch_size: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """The samples of a workload, shape (N, 3)."""
        return np.array(self.samples.get(batch_size, []), dtype=np.int64).reshape(-1, 3)


class Setting(NamedTuple):
    """What all launches of a trial share.

    Attributes:
        snapshot: Directory of the examples that inputs are drawn from.
        deadline: Value of ``time.monotonic()`` after which no block begins; None: no limit.
    """

    schedule: Schedule
    batch_sizes: Sequence[int]
    snapshot: Path
    project_dir: Path
    limits: Limits
    seed: int
    deadline: float | None = None

    def expired(self) -> bool:
        """Whether the time limit is reached."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def left_s(self, estimate: float) -> float:
        """Seconds until the trial ends: as estimated, or at the deadline."""
        if self.deadline is None:
            return estimate
        return min(estimate, max(0.0, self.deadline - time.monotonic()))

    def call_limit_s(self) -> float | None:
        """Seconds that a call may take that begins now; None: only the worker's own limit."""
        return (
            None if self.deadline is None else max(0.0, self.deadline - time.monotonic()) + GRACE_S
        )


class TrialEnd(NamedTuple):
    """What a trial has seen, and why it ended."""

    observed: dict[str, Observed]
    stopped_because: str


def run_trial(
    contestants: Sequence[Contestant],
    setting: Setting,
    progress: Progress,
    *,
    done: dict[str, Observed] | None = None,
    first_launch: int = 0,
    after_launch: Callable[[dict[str, Observed]], None] | None = None,
) -> TrialEnd:
    """Times ``contestants`` side by side.

    Args:
        contestants: All of one heat; one that fails falls out, and the others go on.
        setting: How often, how long, on what.
        progress: Called with a few words, the share done and the seconds left.
        done: What earlier launches of the same trial have seen, when it is resumed.
        first_launch: Number of the launch to begin with.
        after_launch: Called after each launch, to store what has been seen.
    """
    observed = done or {c.name: Observed() for c in contestants}
    counts: dict[tuple[str, int], int] = {}
    schedule, start = setting.schedule, time.monotonic()
    rounds_left = schedule.rounds
    for launch in range(first_launch, schedule.launches):
        if setting.expired():
            break
        began = time.monotonic()
        alive = [c for c in contestants if observed[c.name].failure is None]
        with ExitStack() as stack:
            heat = _Launch(launch, setting, observed, counts, stack)
            heat.open(alive, progress)
            opened = time.monotonic() - began
            if setting.deadline is not None:
                rounds_left = _affordable_rounds(setting, opened, began, launch, heat)
            for number in range(rounds_left):
                if setting.expired() or not heat.workers:
                    break
                share = (launch - first_launch + (number + 1) / rounds_left) / (
                    schedule.launches - first_launch
                )
                elapsed = time.monotonic() - start
                heat.round(number)
                progress(
                    f"launch {launch + 1} of {schedule.launches}, round {number + 1} of {rounds_left}",
                    share,
                    setting.left_s(elapsed / share * (1 - share)),
                )
            heat.finish()
        if after_launch is not None:
            after_launch(observed)
    return TrialEnd(observed, _why_it_ended(observed, setting))


def _affordable_rounds(
    setting: Setting, opened_s: float, began: float, launch: int, heat: _Launch
) -> int:
    """Rounds for this launch so that all launches that are left fit before the deadline.

    Few launches with many rounds say less than many launches with few, so rounds give way first.
    """
    assert setting.deadline is not None
    launches_left = setting.schedule.launches - launch
    each = (setting.deadline - began) / launches_left
    return max(1, min(setting.schedule.rounds, int((each - opened_s) / max(heat.round_s, 1e-6))))


def _why_it_ended(observed: dict[str, Observed], setting: Setting) -> str:
    rows = [row for one in observed.values() for rows in one.samples.values() for row in rows]
    launches = len({row[1] for row in rows})
    rounds = len({row[1:] for row in rows})
    planned = setting.schedule.launches * setting.schedule.rounds
    if launches == setting.schedule.launches and rounds == planned:
        return (
            f"the planned {launches} launches with {setting.schedule.rounds} rounds each are done"
        )
    anyone = any(one.failure is None for one in observed.values())
    if setting.deadline is not None and anyone:
        return f"the time limit: {launches} launches, {rounds} rounds of the planned {planned}"
    return f"no candidate was left after {launches} launches, {rounds} rounds"


class _Launch:
    """One life of the worker processes."""

    def __init__(
        self,
        number: int,
        setting: Setting,
        observed: dict[str, Observed],
        counts: dict[tuple[str, int], int],
        stack: ExitStack,
    ) -> None:
        self.number = number
        self.setting = setting
        self.observed = observed
        self.counts = counts
        self.stack = stack
        self.workers: dict[str, Worker] = {}
        self.rng = np.random.default_rng([setting.seed, number])
        self.round_s = 0.0

    def open(self, contestants: Sequence[Contestant], progress: Progress) -> None:
        """Starts one worker after the other, so that no cold start disturbs another."""
        for i in self.rng.permutation(len(contestants)):
            if self.setting.expired():
                return
            name, stage = contestants[i]
            progress(
                f"launch {self.number + 1} of {self.setting.schedule.launches}, loading {name}",
                self.number / self.setting.schedule.launches,
                None,
            )
            worker = Worker(SESSION, self._arguments(stage), self.setting.limits)
            self.stack.enter_context(worker)
            self.workers[name] = worker
            self._guarded(name, self._begin)

    def round(self, number: int) -> None:
        """Visits every worker once, in a fresh order."""
        names = list(self.workers)
        began = time.monotonic()
        for i in self.rng.permutation(len(names)):
            name = names[i]
            for size in self.setting.batch_sizes:
                if name in self.workers and not self.setting.expired():
                    self._guarded(name, self._visit, size, number)
        self.round_s = time.monotonic() - began

    def finish(self) -> None:
        """Asks each worker for its peak memory."""
        for name in list(self.workers):
            self._guarded(name, self._end)

    def _arguments(self, stage: Stage) -> dict[str, object]:
        return {
            "stage": stage.model_dump(mode="json"),
            "project_dir": str(self.setting.project_dir),
            "snapshot": str(self.setting.snapshot),
            "batch_sizes": list(self.setting.batch_sizes),
            "pool": self.setting.schedule.pool,
        }

    def _begin(self, name: str, worker: Worker) -> None:
        worker.opened(self.setting.call_limit_s())
        seen = self._call(worker, "describe")
        one = self.observed[name]
        one.cold_start_ms.append(seen["cold_start_ns"] / 1e6)
        one.placement = None if seen["nodes"] is None else Placement(nodes=seen["nodes"])
        for size in self.setting.batch_sizes:
            pilot = self._time(worker, size, PILOT, 0)
            # The number of samples in a block is fixed by the first launch: blocks weigh alike.
            known = one.block_size(size) or self._block_size(median(pilot) / 1e6)
            self.counts.setdefault((name, size), known)
            self.round_s += self.counts[name, size] * median(pilot) / 1e9

    def _block_size(self, p50_ms: float) -> int:
        schedule = self.setting.schedule
        wanted = math.ceil(schedule.block_ms / max(p50_ms, 1e-6))
        return min(schedule.max_block, max(schedule.min_block, wanted))

    def _visit(self, name: str, worker: Worker, size: int, number: int) -> None:
        worker.resume()
        block = self._time(worker, size, self.counts[name, size], int(self.rng.integers(1 << 30)))
        rows = self.observed[name].samples.setdefault(size, [])
        rows.extend((ns, self.number, number) for ns in block)

    def _time(self, worker: Worker, size: int, count: int, offset: int) -> list[int]:
        warmup = self.setting.schedule.warmup
        arguments = {"batch_size": size, "count": count, "warmup": warmup, "offset": offset}
        block: list[int] = self._call(worker, "time_block", arguments)
        return block

    def _call(self, worker: Worker, method: str, arguments: dict[str, Any] | None = None) -> Any:
        return worker.call(method, arguments or {}, self.setting.call_limit_s())

    def _end(self, name: str, worker: Worker) -> None:
        worker.resume()
        self.observed[name].peak_rss_bytes.append(float(self._call(worker, "peak_rss_bytes")))

    def _guarded(self, name: str, action: Callable[..., None], *arguments: int) -> None:
        worker = self.workers[name]
        try:
            action(name, worker, *arguments)
            worker.pause()
        except MloptError as e:
            if not self.setting.expired():  # what the time limit ends has not failed
                failure = Failure(during="time", cause=str(e), log=worker.log_tail)
                self.observed[name].failure = failure
            del self.workers[name]
            worker.close()

"""One launch of a trial: a life of the worker processes, from loading to the last round.

One worker runs at a time; the others are stopped, because an idle thread pool goes on spinning for
tens of milliseconds.
"""

from __future__ import annotations

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
from mlopt.profiling.samples import Samples
from mlopt.runners import RUNNERS, opening_of
from mlopt.types.candidate import Stage
from mlopt.types.measurement import LaunchVitals, Placement
from mlopt.types.plan import Schedule
from mlopt.types.run import Failure
from mlopt.workers import Limits, Worker

PILOT = 5

WARMUP_SHARE = 1 / 2
"""Of the timed inferences of a visit, as many untimed ones before them. On two shared cores the first
four inferences of 1.1 ms after a change of worker took 1 to 7% longer than the later ones in the
median, and up to four times as long in the p99."""

GRACE_S = 1.0
"""What a call that began before the deadline may take beyond it."""

SESSION = "mlopt.profiling.session:TimingSession"


class Contestant(NamedTuple):
    """A candidate in a trial."""

    name: str
    stage: Stage


@dataclass
class Observed:
    """What a trial has seen of one candidate so far.

    Attributes:
        samples: For each batch size.
        launches: For each launch: cold start in nanoseconds, peak RSS in bytes, involuntary context
            switches, and nanoseconds of timed work; -1 where it ended before that was asked.
        failure: Set when it fell out of the trial.
        left_because: Set when it left before the end, since nothing more was to be learned.
        vitals: Of the machine, in each launch that it was in.
    """

    samples: dict[int, Samples] = field(default_factory=dict)
    launches: list[tuple[int, int, int, int]] = field(default_factory=list)
    placement: Placement | None = None
    failure: Failure | None = None
    left_because: str | None = None
    vitals: list[LaunchVitals] = field(default_factory=list)

    @property
    def races(self) -> bool:
        """Whether it is still timed."""
        return self.failure is None and self.left_because is None

    def block_size(self, batch_size: int) -> int:
        """Samples in the first block of a workload; 0 when there is none."""
        samples = self.samples.get(batch_size)
        return 0 if samples is None else samples.block_size

    def of(self, batch_size: int) -> Samples:
        """The samples of a workload, to add to."""
        return self.samples.setdefault(batch_size, Samples())


class Setting(NamedTuple):
    """What all launches of a trial share.

    Attributes:
        snapshot: Directory of the examples that inputs are drawn from.
        deadline: Value of ``time.monotonic()`` after which no block begins; None: no limit.
        seconds: The same, counted from when the first launch has loaded and run its pilots. To load
            many takes long; counted from before it, the time might be over before anybody is timed.
        loading_counts: Whether later launches load on those ``seconds`` as well; only with these.
        moment: What ``deadline`` was before the seconds began to count: nothing moves it.
        least_rounds: In each launch, however short the time is.
        open_together: Start the workers at once: sooner done, and cold starts mean nothing.
    """

    schedule: Schedule
    batch_sizes: Sequence[int]
    snapshot: Path
    project_dir: Path
    limits: Limits
    seed: int
    deadline: float | None = None
    seconds: float | None = None
    least_rounds: int = 1
    open_together: bool = False
    loading_counts: bool = True
    moment: float | None = None

    def expired(self) -> bool:
        """Whether the time limit is reached."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def once_loaded(self) -> Setting:
        """The same, with the seconds counted from now."""
        if self.seconds is None:
            return self
        started = self._replace(seconds=None, moment=self.deadline)
        return started._until(time.monotonic() + self.seconds)

    def while_loading(self) -> Setting:
        """The same for as long as a launch loads: where that does not count, only the moment ends it."""
        started = self.seconds is None
        return self if self.loading_counts or not started else self._replace(deadline=self.moment)

    def later(self, seconds: float) -> Setting:
        """The same, with so much more time, up to the moment."""
        return self if self.deadline is None else self._until(self.deadline + seconds)

    def _until(self, end: float) -> Setting:
        return self._replace(deadline=end if self.moment is None else min(end, self.moment))

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


class Launch:
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

    def open(
        self, contestants: Sequence[Contestant], tell: Callable[[int, int, str], None]
    ) -> None:
        """Starts one worker after the other, so that no cold start disturbs another."""
        for i in self.rng.permutation(len(contestants)):
            if self.setting.expired():
                break
            name, stage = contestants[i]
            tell(self.number, 0, f"loading {name}")
            self._start(name, stage)
            if not self.setting.open_together:
                self._await([name])
        if self.setting.open_together:
            self._await(list(self.workers))

    def _await(self, names: Sequence[str]) -> None:
        """Waits until all have loaded, and only then runs any of them."""
        for action in (self._ready, self._begin):
            for name in names:
                if name in self.workers:
                    self._guarded(name, action)

    def _start(self, name: str, stage: Stage) -> None:
        try:
            arguments = self._arguments(stage)
        except MloptError as e:
            self.observed[name].failure = Failure(during="time", cause=str(e))
            return
        environment = RUNNERS[stage.runner].environment
        worker = Worker(SESSION, arguments, self.setting.limits, environment=environment)
        self.stack.enter_context(worker)
        self.workers[name] = worker

    def _ready(self, name: str, worker: Worker) -> None:
        worker.opened(self.setting.call_limit_s())

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
        """Asks each worker for its peak memory, and how often it was interrupted."""
        for name in list(self.workers):
            self._guarded(name, self._end)

    def _arguments(self, stage: Stage) -> dict[str, object]:
        return {
            "opening": opening_of(stage, self.setting.project_dir),
            "snapshot": str(self.setting.snapshot),
            "batch_sizes": list(self.setting.batch_sizes),
            "pool": self.setting.schedule.pool,
        }

    def _begin(self, name: str, worker: Worker) -> None:
        worker.resume()
        seen = self._call(worker, "describe")
        one = self.observed[name]
        one.launches.append((seen["cold_start_ns"], -1, -1, -1))
        one.placement = None if seen["nodes"] is None else Placement(nodes=seen["nodes"])
        for size in self.setting.batch_sizes:
            pilot = self._time(worker, size, PILOT, 0)
            # The number of samples in a block is fixed by the first launch: blocks weigh alike.
            known = one.block_size(size) or self._block_size(median(pilot) / 1e6)
            self.counts.setdefault((name, size), known)
            count = self.counts[name, size]
            self.round_s += (count + self._warmup(count)) * median(pilot) / 1e9

    def _block_size(self, p50_ms: float) -> int:
        schedule = self.setting.schedule
        wanted = math.ceil(schedule.block_ms / max(p50_ms, 1e-6))
        return min(schedule.max_block, max(schedule.min_block, wanted))

    def _visit(self, name: str, worker: Worker, size: int, number: int) -> None:
        worker.resume()
        block = self._time(worker, size, self.counts[name, size], int(self.rng.integers(1 << 30)))
        self.observed[name].of(size).add(self.number, number, block)

    def _time(self, worker: Worker, size: int, count: int, offset: int) -> list[int]:
        warmup = self._warmup(count)
        arguments = {"batch_size": size, "count": count, "warmup": warmup, "offset": offset}
        block: list[int] = self._call(worker, "time_block", arguments)
        return block

    def _warmup(self, count: int) -> int:
        return max(self.setting.schedule.warmup, math.ceil(count * WARMUP_SHARE))

    def _call(self, worker: Worker, method: str, arguments: dict[str, Any] | None = None) -> Any:
        return worker.call(method, arguments or {}, self.setting.call_limit_s())

    def _end(self, name: str, worker: Worker) -> None:
        worker.resume()
        seen = self._call(worker, "leave")
        launches = self.observed[name].launches
        cold_start_ns, *_ = launches[-1]
        launches[-1] = (
            cold_start_ns,
            seen["peak_rss_bytes"],
            seen["involuntary_switches"],
            seen["timed_ns"],
        )

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

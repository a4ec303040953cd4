"""A trial: candidates timed side by side, in launches of shuffled, interleaved rounds.

Randomized multiple interleaved trials (Abedi & Brecht, ICPE 2017): every round visits every
candidate once, in a freshly shuffled order, so that the machine's drift hits all of them alike.
Workers are launched anew several times, since the layout of a process's memory alone shifts its
latency by about 1% (Kalibera & Jones, ISMM 2013). One worker runs at a time; the others are
stopped, because an idle thread pool goes on spinning for tens of milliseconds.
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
from mlopt.machine.vitals import read_vitals
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import Referee, Ruling
from mlopt.types.candidate import Stage
from mlopt.types.measurement import LaunchVitals, Placement
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
    least_rounds: int = 1
    open_together: bool = False

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
    """What a trial has seen, and why it ended.

    Attributes:
        launches: How many there have been.
        rounds: Over all launches.
    """

    observed: dict[str, Observed]
    stopped_because: str
    launches: int
    rounds: int


def run_trial(
    contestants: Sequence[Contestant],
    setting: Setting,
    progress: Progress,
    *,
    referee: Referee | None = None,
    done: dict[str, Observed] | None = None,
    first_launch: int = 0,
    after_launch: Callable[[dict[str, Observed]], None] | None = None,
) -> TrialEnd:
    """Times ``contestants`` side by side.

    Args:
        contestants: All of one heat; one that fails falls out, and the others go on.
        setting: How often, how long, on what.
        progress: Called with a few words, the share done and the seconds left.
        referee: Says after each launch whether to go on, and who leaves; default: all launches
            that the schedule allows.
        done: What earlier launches of the same trial have seen, when it is resumed.
        first_launch: Number of the launch to begin with.
        after_launch: Called after each launch, to store what has been seen.
    """
    observed = done or {c.name: Observed() for c in contestants}
    trial = _Trial(contestants, setting, progress, observed, referee)
    launch = first_launch
    stopped = trial.ruling(launch) if launch or setting.expired() else None
    while stopped is None:
        trial.launch(launch)
        launch += 1
        stopped = trial.ruling(launch)
        if after_launch is not None:
            after_launch(observed)
    return TrialEnd(observed, stopped, *trial.extent())


class _Trial:
    """A trial under way."""

    def __init__(
        self,
        contestants: Sequence[Contestant],
        setting: Setting,
        progress: Progress,
        observed: dict[str, Observed],
        referee: Referee | None,
    ) -> None:
        self.contestants = contestants
        self.setting = setting
        self.tell = progress
        self.observed = observed
        self.referee = referee
        self.counts: dict[tuple[str, int], int] = {}
        self.start = time.monotonic()
        self.begun = 0
        self.rounds = setting.schedule.rounds
        self.launch_s = 0.0
        self.cut = False
        self.words = ""

    def launch(self, number: int) -> None:
        """One life of the worker processes."""
        began = time.monotonic()
        alive = [c for c in self.contestants if self.observed[c.name].races]
        self.begun += 1
        with ExitStack() as stack:
            heat = _Launch(number, self.setting, self.observed, self.counts, stack)
            heat.open(alive, self._tell)
            if self.setting.deadline is not None and number < self.setting.schedule.launches:
                self.rounds = self._affordable_rounds(began, number, heat)
                self.cut |= self.rounds < self.setting.schedule.rounds
            before = read_vitals()
            for i in range(self.rounds):
                if self.setting.expired() or not heat.workers:
                    break
                heat.round(i)
                self._tell(number, i + 1, f"round {i + 1} of {self.rounds}")
            vitals = LaunchVitals(before=before, after=read_vitals())
            for name in heat.workers:
                self.observed[name].vitals.append(vitals)
            heat.finish()
        self.launch_s = time.monotonic() - began

    def ruling(self, launches: int) -> str | None:
        """Why the trial is over after so many launches; None: it goes on."""
        racing = {n: one.samples for n, one in self.observed.items() if one.races}
        if not racing:
            return f"no candidate was left after {_count(launches, 'launch')}"
        ruling = Ruling()
        if self.referee is not None:
            ruling = self.referee.after_launch(racing, launches)
            self.words = ruling.words
            for name, reason in ruling.leaving.items():
                self.observed[name].left_because = reason
        schedule = self.setting.schedule
        done, rounds = self.extent()
        so_far = f"{_count(done, 'launch')}, {_count(rounds, 'round')}"
        over = launches >= schedule.launches and self.referee is None
        if ruling.stop is not None:
            return ruling.stop + (f" (time allowed {so_far})" if self.cut else "")
        if self.setting.expired() or self._too_late_for_another(launches) or (over and self.cut):
            return f"the time limit: {so_far}" + (f"; {self.words}" if self.words else "")
        if over:
            return (
                f"the planned {_count(done, 'launch')} with {schedule.rounds} rounds each are done"
            )
        return None

    def extent(self) -> tuple[int, int]:
        """Launches and rounds that anybody has samples of."""
        blocks = {
            (launch, number)
            for one in self.observed.values()
            for samples in one.samples.values()
            for launch, number, _ in samples.blocks.tolist()
        }
        return len({launch for launch, _ in blocks}), len(blocks)

    def _too_late_for_another(self, launches: int) -> bool:
        """Whether a launch beyond the least number would not end before the deadline."""
        if self.setting.deadline is None or launches < self.setting.schedule.launches:
            return False
        return self.referee is not None and time.monotonic() + self.launch_s > self.setting.deadline

    def _affordable_rounds(self, began: float, launch: int, heat: _Launch) -> int:
        """Rounds for this launch so that all launches that are planned fit before the deadline.

        Few launches with many rounds say less than many launches with few, so rounds give way.
        """
        assert self.setting.deadline is not None
        opened_s = time.monotonic() - began
        each = (self.setting.deadline - began) / (self.setting.schedule.launches - launch)
        affordable = int((each - opened_s) / max(heat.round_s, 1e-6))
        least, most = self.setting.least_rounds, self.setting.schedule.rounds
        return min(most, max(least, affordable))

    def _tell(self, launch: int, rounds: int, what: str) -> None:
        """Says where the trial is, how well things are known, and how long it will last."""
        schedule = self.setting.schedule
        most = schedule.launches if self.referee is None else schedule.most_launches
        words = (
            f"launch {launch + 1} of {'at most ' if most > schedule.launches else ''}{most}, {what}"
        )
        words += f"; {self.words}" if self.words else ""
        done = launch + rounds / self.rounds
        here = done - (launch + 1 - self.begun)
        elapsed = time.monotonic() - self.start
        share = min(1.0, done / most)
        left = None if here <= 0 else self.setting.left_s(elapsed / here * max(0.0, most - done))
        self.tell(words, share, left)


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"


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
        worker = Worker(SESSION, self._arguments(stage), self.setting.limits)
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
            "stage": stage.model_dump(mode="json"),
            "project_dir": str(self.setting.project_dir),
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
            self.round_s += self.counts[name, size] * median(pilot) / 1e9

    def _block_size(self, p50_ms: float) -> int:
        schedule = self.setting.schedule
        wanted = math.ceil(schedule.block_ms / max(p50_ms, 1e-6))
        return min(schedule.max_block, max(schedule.min_block, wanted))

    def _visit(self, name: str, worker: Worker, size: int, number: int) -> None:
        worker.resume()
        block = self._time(worker, size, self.counts[name, size], int(self.rng.integers(1 << 30)))
        self.observed[name].of(size).add(self.number, number, block)

    def _time(self, worker: Worker, size: int, count: int, offset: int) -> list[int]:
        warmup = self.setting.schedule.warmup
        arguments = {"batch_size": size, "count": count, "warmup": warmup, "offset": offset}
        block: list[int] = self._call(worker, "time_block", arguments)
        return block

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

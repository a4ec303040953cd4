"""A candidate under load: closed loops, Poisson arrivals at given rates, the highest sustained one.

Several worker processes, one for each launch, are opened once and serve every load in turn; all but
one are stopped meanwhile. So what differs between two loads is the load, not the process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from mlopt import stats
from mlopt.errors import WorkerError
from mlopt.profiling.load_callers import Served
from mlopt.profiling.load_session import SESSION
from mlopt.profiling.load_summary import Frame, LoadSamples, load_point
from mlopt.profiling.sustained import RESOLUTION, Search, find_sustained, sustained_of
from mlopt.runners import RUNNERS, opening_of
from mlopt.types.candidate import Stage
from mlopt.types.load import LoadPoint, LoadResult, LoopKind
from mlopt.types.workload import Workload
from mlopt.workers import Limits, Worker

SECONDS = 20.0
"""At one load, the launches together, unless somebody says otherwise."""

LEAST_ARRIVALS = 2500
"""Least requests at a low rate. In a busy queue latencies depend on each other for about
1 / (1 - utilisation)^2 service times, so that many times more are asked for."""

MOST_UTILISATION = 0.9
"""Beyond it no more requests are asked for: such a queue seldom keeps any p99."""

MOST_SECONDS = 60.0
"""Longest time at one rate, however few requests it brings."""

SLICES = stats.TAIL_ROUNDS + 10
"""Slices of time over all launches; some may stay empty at a low rate."""

PATIENCE = 20
"""Times the p99 budget that a request may wait before the load is cut off as not sustained."""

LEAST_PATIENCE_S = 0.2
PATIENCE_WITHOUT_BUDGET_S = 1.0
CEILING = 1.1
"""Over what the best closed loop reached: no rate beyond is looked at."""

GRACE_S = 30.0
"""What a load may take beyond its own length."""

Tell = Callable[[str], None]


class LoadSetting(NamedTuple):
    """A candidate, and what it is loaded with.

    Attributes:
        callers: Of each closed loop; the one with the highest throughput serves the arrivals.
        rates: Arrivals a second, each tried once.
        p99_budget_ms: What "sustained" is measured by; None: nothing is.
        search: Whether to look for the highest sustained rate; needs a budget.
        seconds: At one rate, the launches together, at least.
        most_seconds: At one rate, at most, where it brings few requests or much dependence.
        closed_seconds: In one closed loop, the launches together.
        launches: Lives of the worker process.
        snapshot: Directory of the examples that inputs are drawn from.
        run_dir: Directory that samples are stored below.
        file_stem: Beginning of the paths of the sample files, below ``run_dir``.
        until: Value of ``time.monotonic()`` after which no load begins; None: no limit.
    """

    stage: Stage
    workload: Workload
    callers: tuple[int, ...]
    rates: tuple[float, ...]
    p99_budget_ms: float | None
    search: bool
    seconds: float
    most_seconds: float
    closed_seconds: float
    launches: int
    pool: int
    warmup: int
    snapshot: Path
    project_dir: Path
    limits: Limits
    seed: int
    run_dir: Path
    file_stem: str
    until: float | None = None

    def is_over(self) -> bool:
        """Whether the time limit is reached."""
        return self.until is not None and time.monotonic() >= self.until

    @property
    def patience_ns(self) -> int:
        """How long a request may wait."""
        if self.p99_budget_ms is None:
            return round(PATIENCE_WITHOUT_BUDGET_S * 1e9)
        return round(max(LEAST_PATIENCE_S, PATIENCE * self.p99_budget_ms / 1e3) * 1e9)

    def seconds_at(self, rate_per_s: float, capacity_per_s: float | None) -> float:
        """How long a rate is tried, the launches together; known before anything is seen of it.

        Args:
            rate_per_s: Arrivals a second.
            capacity_per_s: What the best closed loop answers; None: unknown.
        """
        utilisation = 0.0 if not capacity_per_s else rate_per_s / capacity_per_s
        idle = 1 - min(utilisation, MOST_UTILISATION)
        return max(self.seconds, min(self.most_seconds, LEAST_ARRIVALS / idle**2 / rate_per_s))


def measure_load(setting: LoadSetting, tell: Tell) -> LoadResult:
    """Loads a candidate as ``setting`` says.

    Args:
        setting: What to load, and with what.
        tell: Called with a few words on what is going on.

    Raises:
        MloptError: The candidate cannot be loaded, or fails under load.
    """
    why = "every rate that was asked for was tried" if setting.rates else "no rate was asked for"
    points: list[LoadPoint] = []
    search = None
    with _Bench(setting, tell) as bench:
        for callers in setting.callers:
            points += bench.closed(callers)
        best, bench.capacity_per_s = _best(points)
        for rate in setting.rates:
            points += bench.open(best, rate)
        if setting.search and bench.capacity_per_s is not None:
            search = _search(bench, best, CEILING * bench.capacity_per_s, points)
            why = search.stopped_because
    if setting.is_over():
        why = "the time limit"
    tried = [(p.rate_per_s, p.sustained) for p in points if p.rate_per_s is not None]
    settings = setting.stage.settings
    return LoadResult(
        workload=setting.workload,
        threads=settings.get("intra_op_threads", settings.get("threads")),
        p99_budget_ms=setting.p99_budget_ms,
        points=tuple(points),
        sustained_per_s=sustained_of(tried),
        resolution=None if search is None else RESOLUTION,
        stopped_because=why,
        seed=setting.seed,
    )


def _search(bench: _Bench, callers: int, ceiling: float, points: list[LoadPoint]) -> Search:
    def probe(rate: float) -> bool | None:
        found = bench.open(callers, rate)
        points.extend(found)
        return found[0].sustained if found else None

    return find_sustained(probe, ceiling, is_over=bench.setting.is_over)


def _best(points: list[LoadPoint]) -> tuple[int, float | None]:
    """The number of callers with the highest throughput, and that throughput."""
    reached = {
        p.callers: p.throughput_per_s.value for p in points if p.throughput_per_s is not None
    }
    if not reached:
        return 1, None
    best = max(reached, key=lambda callers: reached[callers])
    return best, reached[best]


class _Bench:
    """The worker processes, and one load after the other on all of them."""

    def __init__(self, setting: LoadSetting, tell: Tell) -> None:
        self.setting = setting
        self._tell = tell
        self._stack = ExitStack()
        self._workers: list[Worker] = []
        self._count = 0
        self.capacity_per_s: float | None = None

    def __enter__(self) -> Self:
        try:
            for number in range(self.setting.launches):
                if self.setting.is_over():
                    break
                self._tell(f"load: launch {number + 1} of {self.setting.launches}")
                worker = self._stack.enter_context(
                    Worker(
                        SESSION,
                        self._arguments(),
                        self.setting.limits,
                        environment=RUNNERS[self.setting.stage.runner].environment,
                    )
                )
                worker.opened()
                worker.pause()
                self._workers.append(worker)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def closed(self, callers: int) -> list[LoadPoint]:
        """A closed loop; empty when there was no time for it."""
        self._tell(f"load: closed loop, {callers} caller(s)")
        frame = self._frame(self.setting.closed_seconds)
        arguments = {"callers": callers, "length_ns": frame.length_ns}
        return self._load("closed", callers, None, frame, [arguments] * len(self._workers))

    def open(self, callers: int, rate_per_s: float) -> list[LoadPoint]:
        """Poisson arrivals; empty when there was no time for them."""
        self._tell(f"load: {rate_per_s:.4g} requests a second")
        frame = self._frame(self.setting.seconds_at(rate_per_s, self.capacity_per_s))
        arguments = {
            "callers": callers,
            "rate_per_s": rate_per_s,
            "length_ns": frame.length_ns,
            "patience_ns": self.setting.patience_ns,
        }
        seeds = [[self.setting.seed, self._count, n] for n in range(len(self._workers))]
        return self._load(
            "open", callers, rate_per_s, frame, [arguments | {"seed": seed} for seed in seeds]
        )

    def _frame(self, seconds: float) -> Frame:
        launches = max(1, len(self._workers))
        return Frame.of(seconds / launches, math.ceil(SLICES / launches))

    def _load(
        self,
        loop: LoopKind,
        callers: int,
        rate: float | None,
        frame: Frame,
        arguments: list[dict[str, Any]],
    ) -> list[LoadPoint]:
        served = []
        for worker, one in zip(self._workers, arguments, strict=True):
            if self.setting.is_over():
                break
            worker.resume()
            answer = self._ask(worker, loop, one, frame)
            if answer is None:
                break
            worker.pause()
            served.append(Served(**answer))
        if not any(one.latency_ns for one in served):
            return []
        samples = LoadSamples.of(served, frame)
        self._count += 1
        kind = "closed" if rate is None else f"{rate:.4g}-per-s"
        path = f"{self.setting.file_stem}-load-{self._count:02d}-{kind}-{callers}.npz"
        return [
            load_point(
                samples,
                samples.write(self.setting.run_dir, path),
                loop=loop,
                callers=callers,
                rate_per_s=rate,
                p99_budget_ms=None if rate is None else self.setting.p99_budget_ms,
                seed=self.setting.seed,
            )
        ]

    def _ask(
        self, worker: Worker, method: str, arguments: dict[str, Any], frame: Frame
    ) -> dict[str, list[int]] | None:
        """The worker's answer; None where the time limit came before it."""
        most = (frame.length_ns + self.setting.patience_ns) / 1e9 + GRACE_S
        if self.setting.until is not None:
            most = min(most, max(0.0, self.setting.until - time.monotonic()) + 1.0)
        try:
            answer: dict[str, list[int]] = worker.call(method, arguments, most)
        except WorkerError:
            if self.setting.is_over():
                self._workers.clear()  # it was ended in the middle of a load
                return None
            raise
        return answer

    def _arguments(self) -> dict[str, Any]:
        return {
            "opening": opening_of(self.setting.stage, self.setting.project_dir),
            "snapshot": str(self.setting.snapshot),
            "batch_size": self.setting.workload.batch_size,
            "callers": max(self.setting.callers),
            "pool": self.setting.pool,
            "warmup": self.setting.warmup,
        }

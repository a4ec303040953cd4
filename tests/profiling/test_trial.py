"""A trial of scripted workers: who runs when, how long, and what remains when one fails."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.errors import ModelError
from mlopt.profiling.launch import WARMUP_SHARE, Contestant, Observed, Setting
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import ByPrecision, Referee, Ruling, Seen
from mlopt.profiling.trial import SCREENED, Progress, TrialEnd, run_trial
from mlopt.serving import Opening
from mlopt.types.candidate import Stage
from mlopt.types.measurement import Placement
from mlopt.types.plan import Schedule
from mlopt.types.run import Failure
from mlopt.workers import Limits
from mlopt.workers.process import WorkerFailure

MS = 1_000_000
SPLIT, PROJECT = Path("split"), Path("project")


@dataclass
class Script:
    """What the worker of one candidate does.

    Attributes:
        ns: Latency for each batch size.
        fails: The launch and the call (``open``, or the number of a block) that fails, and how.
        load_s: How long it takes to load, on the fake clock.
    """

    ns: dict[int, int] = field(default_factory=lambda: {1: MS, 8: 8 * MS})
    fails: tuple[int, str | int, Exception] | None = None
    load_s: float = 0.0


class Theatre:
    """What the fake workers play in: what happened, in its order, and the time."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self.scripts = scripts
        self.running: dict[str, FakeWorker] = {}
        self.events: list[tuple[str, str]] = []
        self.blocks: list[tuple[int, str, int, int, int]] = []
        self.launches: dict[str, int] = {}
        self.opened: list[dict[str, Any]] = []
        self.warmups: list[int] = []
        self.limits: list[tuple[float, float | None]] = []
        self.now = 1000.0
        self.end = 1000.0

    def visits(self, launch: int, size: int = 1) -> list[str]:
        """Who was visited in a launch, in order; the pilots are left out."""
        return [name for number, name, s, _, _ in self.blocks if (number, s) == (launch, size)]


class FakeWorker:
    """Answers as the script says, and checks that nobody else runs meanwhile."""

    def __init__(self, theatre: Theatre, arguments: dict[str, Any]) -> None:
        self.theatre = theatre
        self.name = arguments["opening"].arguments["stage"]["artifact"]
        self.script = theatre.scripts[self.name]
        self.launch = theatre.launches.get(self.name, -1) + 1
        theatre.launches[self.name] = self.launch
        theatre.opened.append(arguments)
        theatre.events.append(("start", self.name))
        self.calls = 0
        self.paused = False
        self.closed = False
        assert self.name not in theatre.running
        theatre.running[self.name] = self
        self.loading = True

    @property
    def log_tail(self) -> str:
        assert not self.closed
        return f"log of {self.name}"

    def opened(self, seconds: float | None = None) -> None:
        self.loading = False
        self._alone()
        self.theatre.limits.append((self.theatre.end - self.theatre.now, seconds))
        self.theatre.now += self.script.load_s
        self._fail("open")

    def call(self, method: str, arguments: dict[str, Any], seconds: float | None = None) -> Any:
        self._alone()
        self.theatre.limits.append((self.theatre.end - self.theatre.now, seconds))
        if method == "describe":
            return {"cold_start_ns": (self.launch + 1) * 100 * MS, "nodes": {"cpu": 3}}
        if method == "leave":
            return {"peak_rss_bytes": 1000 + self.launch, "involuntary_switches": 7, "timed_ns": 9}
        assert method == "time_block"
        size, count = arguments["batch_size"], arguments["count"]
        self.theatre.warmups.append(arguments["warmup"])
        ns = self.script.ns[size]
        self.theatre.now += ns * count / 1e9
        pilots = len(self.script.ns)
        if self.calls >= pilots:
            self._fail(self.calls - pilots)
            self.theatre.blocks.append((self.launch, self.name, size, count, arguments["offset"]))
        self.calls += 1
        return [ns] * count

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.theatre.events.append(("close", self.name))
            del self.theatre.running[self.name]

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _alone(self) -> None:
        assert not self.closed
        assert not self.paused, f"{self.name} is called while it is stopped"
        others = [
            w.name
            for w in self.theatre.running.values()
            if w is not self and not w.paused and not w.loading
        ]
        assert others == [], f"{others} run while {self.name} is timed"

    def _fail(self, call: str | int) -> None:
        if self.script.fails is not None and self.script.fails[:2] == (self.launch, call):
            raise self.script.fails[2]


Play = Callable[..., tuple[TrialEnd, Theatre]]

BLOCKS: dict[str, Any] = {"block_ms": 40, "min_block": 12, "max_block": 100, "warmup": 0}


def opening_in_general(stage: Stage, project_dir: Path) -> Opening:
    """Of a stage whose artifact nobody has built."""
    described = {"stage": stage.model_dump(mode="json"), "project_dir": str(project_dir)}
    return Opening("mlopt.runners:open_described", described)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """Runs a trial of scripted candidates; with a deadline, on a clock that the script moves."""
    theatres: list[Theatre] = []

    def run(
        scripts: dict[str, Script] | list[str],
        *,
        launches: int = 2,
        rounds: int = 3,
        sizes: tuple[int, ...] = (1,),
        seed: int = 0,
        time_s: float | None = None,
        schedule: dict[str, Any] | None = None,
        progress: Progress = lambda *_: None,
        together: bool = False,
        seconds: float | None = None,
        loading_counts: bool = True,
        untimed: float = 0.0,
        opening: Callable[[Stage, Path], Opening] = opening_in_general,
        **more: Any,
    ) -> tuple[TrialEnd, Theatre]:
        cast = scripts if isinstance(scripts, dict) else {name: Script() for name in scripts}
        for script in cast.values():
            script.ns = {size: script.ns[size] for size in sizes}
        theatre = Theatre(cast)
        theatre.end += time_s or 0
        theatres.append(theatre)
        monkeypatch.setattr(
            "mlopt.profiling.launch.Worker",
            lambda _, arguments, __, environment: FakeWorker(theatre, arguments | environment),
        )
        monkeypatch.setattr("mlopt.profiling.launch.opening_of", opening)
        monkeypatch.setattr("mlopt.profiling.launch.time.monotonic", lambda: theatre.now)
        monkeypatch.setattr("mlopt.profiling.launch.WARMUP_SHARE", untimed)
        setting = Setting(
            schedule=Schedule(launches=launches, rounds=rounds, **BLOCKS | (schedule or {})),
            batch_sizes=sizes,
            snapshot=SPLIT,
            project_dir=PROJECT,
            limits=Limits(),
            seed=seed,
            deadline=None if time_s is None else theatre.now + time_s,
            seconds=seconds,
            loading_counts=loading_counts,
            open_together=together,
        )
        contestants = [
            Contestant(name, Stage(artifact=name, runner="onnxruntime", provider="cpu"))
            for name in cast
        ]
        return run_trial(contestants, setting, progress, **more), theatre

    yield run
    for theatre in theatres:
        assert theatre.running == {}, "no worker outlives a trial"


def keys(observed: Observed, size: int = 1) -> list[tuple[int, int]]:
    """The (launch, round) of every block, in the order of the samples."""
    return [(launch, number) for launch, number, _ in observed.of(size).blocks.tolist()]


def samples_of(blocks: list[tuple[int, int, int]]) -> Samples:
    """Samples of 1 ms in these blocks."""
    count = sum(block[2] for block in blocks)
    return Samples.of(np.full(count, MS), np.array(blocks))


def grid(launches: int, rounds: int) -> list[tuple[int, int]]:
    return list(itertools.product(range(launches), range(rounds)))


NAMES = ["a", "b", "c", "d"]


def test_every_candidate_is_visited_once_a_round(play: Play) -> None:
    end, theatre = play(NAMES, launches=3, rounds=4)
    for launch in range(3):
        visits = theatre.visits(launch)
        for number in range(4):
            assert sorted(visits[4 * number : 4 * number + 4]) == NAMES
    for name in NAMES:
        assert keys(end.observed[name]) == grid(3, 4)


def orders(theatre: Theatre, launches: int, rounds: int) -> list[tuple[str, ...]]:
    n = len(theatre.scripts)
    visits = [theatre.visits(launch) for launch in range(launches)]
    return [tuple(v[n * i : n * i + n]) for v in visits for i in range(rounds)]


def test_the_order_is_shuffled_anew_in_every_round_and_launch(play: Play) -> None:
    _, theatre = play(NAMES, launches=3, rounds=12)
    found = orders(theatre, 3, 12)
    assert len(set(found)) > 10
    assert {order[0] for order in found} == set(NAMES), "each comes first sometimes"
    first, second = found[:12], found[12:24]
    assert first != second
    loads = [name for event, name in theatre.events if event == "start"]
    assert len({tuple(loads[4 * i : 4 * i + 4]) for i in range(3)}) > 1


def test_the_seed_determines_orders_and_inputs(play: Play) -> None:
    first, again, other = (play(NAMES, rounds=6, seed=s)[1] for s in (7, 7, 8))
    assert first.blocks == again.blocks
    assert first.events == again.events
    assert orders(first, 2, 6) != orders(other, 2, 6)


def test_blocks_begin_at_different_places_of_the_pool(play: Play) -> None:
    _, theatre = play(["a"], rounds=10)
    assert len({offset for *_, offset in theatre.blocks}) > 10


def test_workers_are_launched_anew_one_after_the_other_and_closed_in_between(play: Play) -> None:
    _, theatre = play(["a", "b"], launches=3)
    kinds = [kind for kind, _ in theatre.events]
    assert kinds == ["start", "start", "close", "close"] * 3
    for i in range(0, 12, 4):
        assert {name for _, name in theatre.events[i : i + 2]} == {"a", "b"}


def test_a_worker_is_told_what_to_load_and_on_what(play: Play) -> None:
    _, theatre = play(["a"], sizes=(1, 8), launches=1, schedule={"pool": 17})
    (arguments,) = theatre.opened
    opening = arguments["opening"].arguments
    assert (opening["stage"]["artifact"], opening["stage"]["runner"]) == ("a", "onnxruntime")
    assert (arguments["snapshot"], opening["project_dir"]) == (str(SPLIT), str(PROJECT))
    assert (arguments["batch_sizes"], arguments["pool"]) == ([1, 8], 17)


def test_who_cannot_be_opened_falls_out_before_a_process_starts(
    play: Play,
) -> None:
    def opening(stage: Stage, project_dir: Path) -> Opening:
        if stage.artifact == "bad":
            raise ModelError("the artifact is damaged")
        return opening_in_general(stage, project_dir)

    end, theatre = play(["a", "bad"], opening=opening)
    failure = Failure(during="time", cause="the artifact is damaged")
    assert end.observed["bad"].failure == failure
    assert end.observed["a"].failure is None
    assert {name for _, name in theatre.events} == {"a"}


def test_every_workload_is_timed_in_every_visit(play: Play) -> None:
    end, theatre = play(["a", "b"], sizes=(1, 8))
    assert theatre.visits(0, size=1) == theatre.visits(0, size=8)
    for name in ("a", "b"):
        for size, ns in ((1, MS), (8, 8 * MS)):
            assert keys(end.observed[name], size) == grid(2, 3)
            assert set(end.observed[name].samples[size].ns.tolist()) == {ns}


def test_cold_start_and_peak_are_observed_once_a_launch(play: Play) -> None:
    end, _ = play(["a", "b"], launches=3)
    for name in ("a", "b"):
        assert end.observed[name].launches == [
            (100 * MS, 1000, 7, 9), (200 * MS, 1001, 7, 9), (300 * MS, 1002, 7, 9),
        ]  # fmt: skip
        assert end.observed[name].placement == Placement(nodes={"cpu": 3})


@pytest.mark.parametrize(
    ("p50_ms", "count"),
    [
        pytest.param(1.0, 40, id="a block takes 40 ms"),
        pytest.param(1.5, 27, id="rounded up"),
        pytest.param(0.001, 100, id="never more than the most"),
        pytest.param(0.0, 100, id="faster than the clock"),
        pytest.param(500.0, 12, id="never less than the least"),
    ],
)
def test_the_size_of_a_block_comes_from_the_pilot_within_its_bounds(
    play: Play, p50_ms: float, count: int
) -> None:
    end, theatre = play({"a": Script({1: int(p50_ms * MS)})}, launches=1)
    assert [block[3] for block in theatre.blocks] == [count] * 3
    assert len(end.observed["a"].samples[1]) == 3 * count


def test_a_worker_has_the_variables_that_its_runner_serves_with(play: Play) -> None:
    _, theatre = play(["a"], launches=1)
    assert [one["OPENBLAS_NUM_THREADS"] for one in theatre.opened] == ["1"]


@pytest.mark.parametrize(
    ("p50_ms", "least", "untimed"),
    [
        pytest.param(1.0, 2, 20, id="half of 40"),
        pytest.param(500.0, 2, 6, id="half of 12"),
        pytest.param(500.0, 8, 8, id="as many as asked for"),
    ],
)
def test_a_visit_begins_with_inferences_that_are_not_timed(
    play: Play, p50_ms: float, least: int, untimed: int
) -> None:
    script = Script({1: int(p50_ms * MS)})
    _, theatre = play({"a": script}, launches=1, schedule={"warmup": least}, untimed=WARMUP_SHARE)
    pilot, *visits = theatre.warmups
    assert pilot == max(least, 3)
    assert visits == [untimed] * 3


def test_the_size_of_a_block_stays_that_of_the_first_launch(play: Play) -> None:
    script = Script({1: MS})

    def slow_down(_: dict[str, Observed]) -> None:
        script.ns = {1: 4 * MS}

    _, theatre = play({"a": script}, after_launch=slow_down)
    assert {block[3] for block in theatre.blocks} == {40}


def test_each_candidate_and_workload_has_blocks_of_its_own_size(play: Play) -> None:
    _, theatre = play(
        {"fast": Script({1: MS, 8: 2 * MS}), "slow": Script({1: 4 * MS, 8: 8 * MS})}, sizes=(1, 8)
    )
    sizes = {(name, size): count for _, name, size, count, _ in theatre.blocks}
    assert sizes == {("fast", 1): 40, ("fast", 8): 20, ("slow", 1): 12, ("slow", 8): 12}


def test_samples_hold_latency_launch_and_round(play: Play) -> None:
    end, _ = play({"a": Script({1: 3 * MS})}, launches=2, rounds=2)
    samples = end.observed["a"].samples[1]
    assert samples.ns.tolist() == [3 * MS] * 4 * 14
    assert samples.blocks.tolist() == [[0, 0, 14], [0, 1, 14], [1, 0, 14], [1, 1, 14]]
    assert 99 not in end.observed["a"].samples


BROKEN = ModelError("the model answers NaN")


@pytest.mark.parametrize(
    ("launch", "call", "kept"),
    [
        pytest.param(0, "open", [], id="while loading"),
        pytest.param(1, "open", grid(1, 3), id="while loading again"),
        pytest.param(0, 1, [(0, 0)], id="in the second round"),
        pytest.param(1, 0, grid(1, 3), id="in the second launch"),
    ],
)
def test_a_candidate_that_fails_falls_out_and_the_others_go_on(
    play: Play, launch: int, call: str | int, kept: list[tuple[int, int]]
) -> None:
    end, theatre = play(
        {"a": Script(), "bad": Script(fails=(launch, call, BROKEN)), "c": Script()}, launches=3
    )
    bad = end.observed["bad"]
    assert bad.failure == Failure(during="time", cause="the model answers NaN", log="log of bad")
    assert keys(bad) == kept
    assert theatre.launches["bad"] == launch, "it is not launched again"
    for name in ("a", "c"):
        assert end.observed[name].failure is None
        assert keys(end.observed[name]) == grid(3, 3)
        assert len(end.observed[name].launches) == 3
    assert "are done" in end.stopped_because


def test_a_worker_that_dies_falls_out_with_its_cause(play: Play) -> None:
    died = WorkerFailure("the process was killed by SIGKILL", "its log")
    end, _ = play({"a": Script(), "bad": Script(fails=(0, 0, died))})
    assert end.observed["bad"].failure is not None
    assert end.observed["bad"].failure.cause == "the process was killed by SIGKILL"


def test_any_other_error_ends_the_trial_and_all_of_its_workers(play: Play) -> None:
    with pytest.raises(KeyError):
        play({"a": Script(), "bad": Script(fails=(0, 1, KeyError("a bug of ours")))})


@pytest.mark.parametrize("time_s", [None, 1000.0])
def test_a_trial_in_which_all_fail_says_so(play: Play, time_s: float | None) -> None:
    scripts = {name: Script(fails=(0, 1, BROKEN)) for name in ("a", "b")}
    end, theatre = play(scripts, time_s=time_s)
    assert end.stopped_because == "no candidate was left after 1 launch"
    assert theatre.launches == {"a": 0, "b": 0}


def test_a_trial_that_is_done_says_what_was_planned(play: Play) -> None:
    end, _ = play(["a"], launches=2, rounds=3)
    assert end.stopped_because == "the planned 2 launches with 3 rounds each are done"


def test_a_deadline_far_away_changes_nothing(play: Play) -> None:
    end, _ = play(["a", "b"], launches=3, rounds=4, time_s=10_000)
    assert keys(end.observed["a"]) == grid(3, 4)
    assert "are done" in end.stopped_because


def test_a_deadline_shortens_the_rounds_and_keeps_the_launches(play: Play) -> None:
    # A round takes 2 x 40 ms; 5 x 100 rounds would take 40 s.
    end, theatre = play(["a", "b"], launches=5, rounds=100, time_s=10)
    rounds = [len([k for k in keys(end.observed["a"]) if k[0] == i]) for i in range(5)]
    assert all(10 < count < 40 for count in rounds), rounds
    assert max(rounds) - min(rounds) <= 2, "no launch eats the rounds of another"
    assert end.stopped_because == f"the time limit: 5 launches, {sum(rounds)} rounds"
    assert theatre.now <= 1000 + 10 + 0.1


def test_where_many_may_leave_the_first_launch_has_half_of_the_time(play: Play) -> None:
    class Watches:
        def after_launch(self, seen: Seen, launches: int) -> Ruling:
            return Ruling()

    def rounds(candidates: int) -> list[int]:
        names = [f"c{i}" for i in range(candidates)]
        time_s = 4.0 * candidates  # a round takes 40 ms for each of them
        end, _ = play(names, launches=5, rounds=200, time_s=time_s, referee=Watches())
        return [len([k for k in keys(end.observed["c0"]) if k[0] == i]) for i in range(5)]

    many, few = rounds(SCREENED + 1), rounds(SCREENED)
    assert max(few) - min(few) <= 2
    assert 0.4 < many[0] / sum(many) < 0.6
    assert max(many[1:]) - min(many[1:]) <= 2


def test_the_time_of_loading_is_not_spent_on_rounds(play: Play) -> None:
    scripts = {name: Script(load_s=0.5) for name in ("a", "b")}
    end, theatre = play(scripts, launches=5, rounds=100, time_s=10)
    launches = {launch for launch, _ in keys(end.observed["a"])}
    assert launches == set(range(5))
    assert theatre.now <= 1000 + 10 + 0.1


def test_a_launch_whose_time_goes_into_loading_still_has_one_round(play: Play) -> None:
    end, _ = play({"a": Script(load_s=1.0)}, launches=5, rounds=10, time_s=4)
    assert keys(end.observed["a"]) == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize(("limit_s", "rounds"), [(None, 6), (20.0, 3)])
def test_seconds_count_from_when_the_first_launch_has_loaded(
    play: Play, limit_s: float | None, rounds: int
) -> None:
    # Loading both takes 10 s, their pilots 1 s, and a round 2.4 s.
    scripts = {name: Script({1: 100 * MS}, load_s=5.0) for name in ("a", "b")}
    end, theatre = play(scripts, launches=1, rounds=9, time_s=limit_s, seconds=15.0)
    assert len(keys(end.observed["a"])) == rounds
    assert "the time limit" in end.stopped_because
    assert theatre.now <= 1000 + (limit_s or 26) + 0.1


@pytest.mark.parametrize("limit_s", [None, 60.0])
def test_seconds_may_be_without_what_later_launches_load(play: Play, limit_s: float | None) -> None:
    # Loading both takes 20 s, their pilots 1 s, and a round 2.4 s.
    def launches(counts: bool) -> int:
        scripts = {name: Script({1: 100 * MS}, load_s=10.0) for name in ("a", "b")}
        more = {"time_s": limit_s, "seconds": 25.0, "loading_counts": counts}
        end, theatre = play(scripts, launches=5, rounds=2, **more)
        assert theatre.now <= 1000 + (limit_s or 5 * 21 + 25) + 10.6  # one may load
        return len({launch for launch, _ in keys(end.observed["a"])})

    assert launches(counts=True) == 2
    assert launches(counts=False) == (5 if limit_s is None else 2)


def test_launches_fit_before_a_deadline_that_loading_does_not_move(play: Play) -> None:
    # Each launch loads for 6 s, and a round takes 0.24 s.
    scripts = {name: Script({1: 10 * MS}, load_s=3.0) for name in ("a", "b")}
    more = {"time_s": 40.0, "seconds": 60.0, "loading_counts": False}
    end, theatre = play(scripts, launches=5, rounds=200, **more)
    rounds = [launch for launch, _ in keys(end.observed["a"])]
    assert min(rounds.count(launch) for launch in range(5)) > 1
    assert theatre.now <= 1000 + 40 + 0.3


def test_a_launch_that_loads_too_long_for_another_has_all_of_the_seconds(play: Play) -> None:
    class Watches:
        def after_launch(self, seen: Seen, launches: int) -> Ruling:
            return Ruling()

    def first(load_s: float) -> int:
        scripts = {f"c{i}": Script(load_s=load_s) for i in range(SCREENED + 1)}
        end, _ = play(scripts, launches=5, rounds=200, seconds=20.0, referee=Watches())
        return len([launch for launch, _ in keys(end.observed["c0"]) if launch == 0])

    # All load for 7 s, or for 14 s of which half would be left for the second launch.
    assert first(2.0) == pytest.approx(2 * first(1.0), rel=0.1)


def test_no_block_begins_after_the_deadline(play: Play) -> None:
    scripts = {name: Script({1: 1000 * MS}) for name in ("a", "b")}
    end, theatre = play(scripts, launches=5, rounds=10, time_s=20)
    # The pilots take 5 s each and the first block ends at 22 s: the second one does not begin.
    assert len(theatre.blocks) == 1
    assert theatre.now == pytest.approx(1000 + 22)
    assert "the time limit" in end.stopped_because


def test_who_is_ended_by_the_time_limit_has_not_failed(play: Play) -> None:
    ended = WorkerFailure("ran longer than its limit of 12 s", "")
    scripts = {"a": Script({1: 1000 * MS}, fails=(0, 0, ended))}  # it would end at 17 s
    end, _ = play(scripts, launches=1, time_s=18)
    assert end.observed["a"].failure is not None
    end, _ = play(scripts, launches=1, time_s=16)
    assert end.observed["a"].failure is None
    assert "the time limit" in end.stopped_because


@pytest.mark.parametrize("time_s", [None, 100.0])
def test_no_call_may_take_much_longer_than_the_time_that_is_left(
    play: Play, time_s: float | None
) -> None:
    _, theatre = play(["a", "b"], time_s=time_s)
    assert len(theatre.limits) > 10
    for left, limit in theatre.limits:
        if time_s is None:
            assert limit is None
        else:
            assert limit is not None
            assert left <= limit <= left + 30


def test_a_deadline_that_is_over_measures_nothing(play: Play) -> None:
    end, theatre = play(["a"], time_s=-1)
    assert theatre.opened == []
    assert end.observed["a"].samples == {}
    assert end.stopped_because == "the time limit: 0 launches, 0 rounds"


def test_what_was_seen_is_stored_after_each_launch(play: Play) -> None:
    stored: list[list[tuple[int, int]]] = []
    peaks: list[int] = []

    def store(observed: dict[str, Observed]) -> None:
        stored.append(keys(observed["a"]))
        peaks.append(observed["a"].launches[-1][1])

    play(["a"], launches=3, after_launch=store)
    assert stored == [grid(1, 3), grid(2, 3), grid(3, 3)]
    assert peaks == [1000, 1001, 1002]


def test_a_resumed_trial_adds_the_launches_that_are_left(play: Play) -> None:
    whole, original = play(["a", "b"], launches=4)
    started, _ = play(["a", "b"], launches=4)
    done = {
        name: Observed(
            samples={1: samples_of(one.samples[1].blocks[:6].tolist())},
            launches=one.launches[:2],
        )
        for name, one in started.observed.items()
    }
    resumed, theatre = play(["a", "b"], launches=4, done=done, first_launch=2)
    assert theatre.launches == {"a": 1, "b": 1}, "two launches are left"
    for name in ("a", "b"):
        assert keys(resumed.observed[name]) == grid(4, 3)
        assert (
            resumed.observed[name].samples[1].ns.tolist()
            == whole.observed[name].samples[1].ns.tolist()
        )
        assert keys(resumed.observed[name]) == keys(whole.observed[name])
        assert len(resumed.observed[name].launches) == 4
    assert resumed.observed is done
    assert resumed.stopped_because == whole.stopped_because
    assert theatre.visits(0) == original.visits(2), "launches are shuffled by their own number"


def test_a_resumed_trial_keeps_the_size_of_its_blocks(play: Play) -> None:
    done = {"a": Observed(samples={1: samples_of([(0, number, 40) for number in range(3)])})}
    slower = {"a": Script({1: 2 * MS})}
    _, theatre = play(slower, launches=2, rounds=3, done=done, first_launch=1)
    assert [block[3] for block in theatre.blocks] == [40, 40, 40]


def test_who_failed_before_a_resume_stays_out(play: Play) -> None:
    failure = Failure(during="time", cause="it broke")
    done = {"a": Observed(), "bad": Observed(failure=failure)}
    end, theatre = play(["a", "bad"], done=done, first_launch=1)
    assert "bad" not in theatre.launches
    assert end.observed["bad"].failure == failure
    assert keys(end.observed["a"]) == [(1, 0), (1, 1), (1, 2)]


def test_progress_rises_to_the_whole_and_tells_the_time_left(play: Play) -> None:
    told: list[tuple[str, float, float | None]] = []
    play(["a", "b"], launches=2, rounds=3, progress=lambda *seen: told.append(seen))
    shares = [share for _, share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert told[-1][0] == "launch 2 of 2, round 3 of 3"
    left = [seconds for text, _, seconds in told if "round" in text]
    assert all(seconds is not None and seconds >= 0 for seconds in left)
    assert any("loading a" in text for text, _, _ in told)


def test_the_memory_of_a_trial_grows_by_the_samples_alone(play: Play) -> None:
    def peak_bytes(rounds: int) -> tuple[int, int]:
        schedule = {"min_block": 100, "most_launches": 3}
        referee = ByPrecision(Schedule(launches=2, most_launches=3), 1, "a", seed=0)
        tracemalloc.start()
        try:
            end, _ = play(["a"], launches=2, rounds=rounds, schedule=schedule, referee=referee)
            return tracemalloc.get_traced_memory()[1], len(end.observed["a"].samples[1])
        finally:
            tracemalloc.stop()

    (few_bytes, few), (many_bytes, many) = peak_bytes(100), peak_bytes(2100)
    assert many == 14 * few
    # One launch of two is looked at by itself, once as integers and once as floats to be sorted;
    # the script of this test keeps a line of its own for each block.
    assert (many_bytes - few_bytes) / (many - few) < 8 * (9 / 8 + 2 / 2) + 4


def test_a_candidate_that_leaves_is_not_launched_again(play: Play) -> None:
    class Sends:
        def after_launch(self, seen: Seen, launches: int) -> Ruling:
            return Ruling(leaving={"b": "it is slow"} if launches == 2 else {}, words="±1%")

    told: list[str] = []
    end, theatre = play(
        ["a", "b"], launches=2, schedule={"most_launches": 4}, referee=Stops(Sends(), 4),
        progress=lambda words, *_: told.append(words),
    )  # fmt: skip
    assert end.observed["b"].left_because == "it is slow"
    assert theatre.launches == {"a": 3, "b": 1}
    assert keys(end.observed["b"]) == grid(2, 3)
    assert keys(end.observed["a"]) == grid(4, 3)
    assert end.stopped_because == "enough"
    assert any("±1%" in words for words in told), "progress tells how well things are known"


@dataclass
class Stops:
    """A referee that ends a trial after some launches, and else asks another one."""

    other: Referee
    launches: int

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        ruling = self.other.after_launch(seen, launches)
        return ruling._replace(stop="enough") if launches == self.launches else ruling


def test_workers_that_start_together_are_timed_one_by_one(play: Play) -> None:
    end, theatre = play(["a", "b"], launches=2, together=True)
    assert sorted(theatre.events[:2]) == [("start", "a"), ("start", "b")]
    assert keys(end.observed["a"]) == keys(end.observed["b"]) == grid(2, 3)


def test_who_was_loaded_and_never_timed_has_no_samples(play: Play) -> None:
    end, _ = play({"a": Script(load_s=9.0)}, time_s=5)
    assert end.observed["a"].launches, "it was loaded"
    assert end.observed["a"].samples == {}
    assert end.stopped_because.startswith("the time limit: 0 launches")

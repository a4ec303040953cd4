"""Inside a timing worker: the clock, the pool of inputs, and one block after the other."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.machine.own_usage import peak_rss_bytes
from mlopt.profiling import session
from mlopt.profiling.session import TimingSession, input_pool, timed
from mlopt.store.snapshot import SnapshotWriter

Array = np.ndarray[Any, Any]


@pytest.fixture
def split(tmp_path: Path) -> Callable[[int], Path]:
    """A snapshot whose example i holds the number i."""

    def write(examples: int) -> Path:
        with SnapshotWriter(tmp_path / "split") as writer:
            writer.append(
                {
                    "x": np.arange(examples, dtype=np.float32)[:, None],
                    "n": np.arange(examples, dtype=np.int64),
                },
                None,
            )
            writer.finish()
        return tmp_path / "split"

    return write


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each tick of a clock that goes on by 1, 2, 3 ... nanoseconds, and each call between."""
    events: list[str] = []
    times = itertools.accumulate(itertools.count(1))

    def tick() -> int:
        events.append("tick")
        return next(times)

    monkeypatch.setattr(session.time, "perf_counter_ns", tick)
    return events


def test_one_pair_of_ticks_stands_around_each_call_and_nothing_else(clock: list[str]) -> None:
    calls = [lambda i=i: clock.append(f"call {i}") for i in range(3)]
    samples = timed(calls)
    assert clock == [
        *("tick", "call 0", "tick"),
        *("tick", "call 1", "tick"),
        *("tick", "call 2", "tick"),
    ]
    assert samples == [2, 4, 6], "every sample is kept, in its order"


def test_no_call_is_no_sample(clock: list[str]) -> None:
    assert timed([]) == []
    assert clock == []


@pytest.fixture
def _gc_as_it_was() -> Iterator[None]:
    enabled = gc.isenabled()
    yield
    gc.enable() if enabled else gc.disable()


@pytest.mark.usefixtures("_gc_as_it_was")
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_garbage_is_not_collected_meanwhile_and_the_setting_comes_back(
    enabled: bool, fails: bool
) -> None:
    seen: list[bool] = []

    def call() -> None:
        seen.append(gc.isenabled())
        if fails:
            raise RuntimeError("broken kernel")

    gc.enable() if enabled else gc.disable()
    if fails:
        with pytest.raises(RuntimeError, match="broken kernel"):
            timed([call])
    else:
        timed([call])
    assert seen == [False]
    assert gc.isenabled() is enabled


def test_a_pool_holds_different_batches_of_real_examples(split: Callable[[int], Path]) -> None:
    pool = input_pool(split(20), batch_size=4, count=3)
    assert [batch["n"].tolist() for batch in pool] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    for batch in pool:
        assert batch["x"].shape == (4, 1)
        assert batch["x"].dtype == np.float32


def test_a_pool_has_no_more_batches_than_the_split(split: Callable[[int], Path]) -> None:
    pool = input_pool(split(20), batch_size=4, count=64)
    assert sorted(n for batch in pool for n in batch["n"].tolist()) == list(range(20))


def test_a_split_smaller_than_a_batch_is_repeated_to_fill_one(
    split: Callable[[int], Path],
) -> None:
    (batch,) = input_pool(split(3), batch_size=8, count=64)
    assert batch["n"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(("cap", "batches"), [(48 * 3, 3), (48 * 3 + 47, 3), (1, 1)])
def test_a_pool_has_no_more_bytes_than_its_cap_and_at_least_one_batch(
    split: Callable[[int], Path], cap: int, batches: int
) -> None:
    pool = input_pool(
        split(40), batch_size=4, count=64, most_bytes=cap
    )  # 4 examples of 4 + 8 bytes
    assert len(pool) == batches


def test_a_batch_is_contiguous_writable_and_no_memory_map(split: Callable[[int], Path]) -> None:
    (batch,) = input_pool(split(4), batch_size=4, count=1)
    for array in batch.values():
        assert array.flags["C_CONTIGUOUS"]
        assert array.flags["WRITEABLE"]
        assert not isinstance(array, np.memmap)


PEAKS = """
import psutil
from mlopt.machine.own_usage import peak_rss_bytes

before = peak_rss_bytes()
block = b"x" * 200_000_000
del block
print(before, peak_rss_bytes(), psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is known on Linux")
def test_the_peak_is_positive_and_outlives_what_was_freed() -> None:
    child = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True
    )
    before, after, current = map(int, child.stdout.split())
    assert before > 1_000_000
    assert after >= before + 190_000_000
    assert current < after - 150_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_the_peak_is_the_processes_own_and_not_its_parents() -> None:
    block = b"x" * 200_000_000
    script = "from mlopt.machine.own_usage import peak_rss_bytes; print(peak_rss_bytes())"
    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert len(block) <= peak_rss_bytes()
    assert 1_000_000 < int(child.stdout) < 190_000_000


def test_without_proc_the_peak_is_what_psutil_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert peak_rss_bytes() > 1_000_000


class FakeSession:
    """Notes on which input it ran, and whether it was serving."""

    def __init__(self, nodes: dict[str, int] | None) -> None:
        self.ran: list[list[int]] = []
        self.serves = False
        self.placed = nodes

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise AssertionError("timed inferences are bound beforehand")

    def bind(self, inputs: Mapping[str, Array]) -> Callable[[], object]:
        def call() -> None:
            assert self.serves
            self.ran.append(inputs["n"].tolist())

        return call

    @contextmanager
    def serving(self) -> Iterator[None]:
        self.serves = True
        yield
        self.serves = False

    def nodes(self) -> dict[str, int] | None:
        return self.placed


Open = Callable[..., tuple[TimingSession, FakeSession]]


@pytest.fixture
def opened(split: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch) -> Open:
    def make(
        nodes: dict[str, int] | None = None, pool: int = 4
    ) -> tuple[TimingSession, FakeSession]:
        fake = FakeSession(nodes)
        monkeypatch.setattr(session, "opener", lambda opening: lambda: fake)
        return TimingSession(("module:function", {}), str(split(10)), [1, 2], pool), fake

    return make


@pytest.mark.parametrize("nodes", [None, {"CPUExecutionProvider": 4}])
def test_a_session_tells_its_cold_start_and_where_the_nodes_ran(
    opened: Open, nodes: dict[str, int] | None
) -> None:
    timing, fake = opened(nodes)
    assert fake.ran == [[0]], "the cold start ends with the first inference"
    assert timing.describe()["nodes"] == nodes
    assert timing.describe()["cold_start_ns"] > 0


def test_a_block_warms_up_then_goes_through_the_pool(opened: Open) -> None:
    timing, fake = opened()
    fake.ran.clear()
    samples = timing.time_block(batch_size=1, count=6, warmup=2, offset=3)
    assert len(samples) == 6
    assert all(isinstance(ns, int) and ns >= 0 for ns in samples)
    assert fake.ran == [[3], [0], [1], [2], [3], [0], [1], [2]]
    assert not fake.serves


def test_an_offset_beyond_the_pool_wraps_around(opened: Open) -> None:
    timing, fake = opened()
    fake.ran.clear()
    timing.time_block(batch_size=1, count=1, warmup=0, offset=4 * 1_000_003 + 2)
    assert fake.ran == [[2]]


def test_each_workload_has_a_pool_of_its_own_batch_size(opened: Open) -> None:
    timing, fake = opened()
    fake.ran.clear()
    timing.time_block(batch_size=2, count=2, warmup=0, offset=0)
    assert fake.ran == [[0, 1], [2, 3]]


def test_only_the_timed_inferences_are_between_ticks(opened: Open, clock: list[str]) -> None:
    timing, _ = opened()
    clock.clear()
    timing.time_block(batch_size=1, count=5, warmup=3, offset=0)
    assert len(clock) == 10


def test_a_timing_worker_does_not_load_what_only_its_parent_needs() -> None:
    code = "import sys, mlopt.profiling.session; print([m for m in ('scipy', 'torch') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"

"""What runs inside a timing worker: one candidate, its pool of real inputs, and the clock."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlopt.machine.own_usage import involuntary_switches, peak_rss_bytes
from mlopt.serving import Opening, opener
from mlopt.store.snapshot import Snapshot

POOL_BYTES = 16_000_000
"""Most bytes of inputs in the pools of a worker, so that they do not become its peak memory."""


class TimingSession:
    """Loads a candidate, binds its inputs, and times blocks of inferences on request.

    The cold start is timed from before the runtime is imported to the end of the first inference.
    """

    def __init__(
        self,
        opening: tuple[str, dict[str, Any]],
        snapshot: str,
        batch_sizes: list[int],
        pool: int,
    ) -> None:
        """Loads the candidate and runs it once.

        Args:
            opening: An :class:`~mlopt.serving.Opening`, as JSON made a list of it.
            snapshot: Directory of the examples that the pool is drawn from.
            batch_sizes: One workload each.
            pool: Number of different batches.
        """
        room = POOL_BYTES // len(batch_sizes)
        inputs = {size: input_pool(Path(snapshot), size, pool, room) for size in batch_sizes}
        load = opener(Opening(*opening))
        start = time.perf_counter_ns()
        self._session = load()
        with self._session.serving():
            self._session.bind(inputs[batch_sizes[0]][0])()
        self._cold_start_ns = time.perf_counter_ns() - start
        self._calls = {
            size: [self._session.bind(one) for one in inputs[size]] for size in batch_sizes
        }
        self._switches = involuntary_switches()
        self._timed_ns = 0

    def describe(self) -> dict[str, Any]:
        """The cold start in nanoseconds, and which provider took how many nodes."""
        return {"cold_start_ns": self._cold_start_ns, "nodes": self._session.nodes()}

    def time_block(self, batch_size: int, count: int, warmup: int, offset: int) -> list[int]:
        """Times back-to-back inferences, each on the next input of the pool.

        Args:
            batch_size: Names the workload.
            count: Timed inferences.
            warmup: Untimed inferences before them.
            offset: Where in the pool to begin.

        Returns:
            Nanoseconds of each, in their order; none is left out.
        """
        calls = self._calls[batch_size]
        first = offset % len(calls)
        order = itertools.islice(itertools.cycle(calls[first:] + calls[:first]), warmup + count)
        with self._session.serving():
            for call in itertools.islice(order, warmup):
                call()
            found = timed(list(order))
        self._timed_ns += sum(found)
        return found

    def leave(self) -> dict[str, int]:
        """The high-water mark of resident memory, and what happened since loading.

        That is involuntary context switches, -1 where the system does not count them, and the timed
        work that they are of.
        """
        switches = involuntary_switches()
        return {
            "peak_rss_bytes": peak_rss_bytes(),
            "involuntary_switches": switches if switches < 0 else switches - self._switches,
            "timed_ns": self._timed_ns,
        }


def timed(calls: list[Callable[[], object]]) -> list[int]:
    """Runs each call and returns its nanoseconds. Nothing else stands between the clock's ticks."""
    clock = time.perf_counter_ns
    samples = [0] * len(calls)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for i, call in enumerate(calls):
            start = clock()
            call()
            samples[i] = clock() - start
    finally:
        if collecting:
            gc.enable()
    return samples


def input_pool(
    snapshot: Path, batch_size: int, count: int, most_bytes: int = POOL_BYTES
) -> list[dict[str, Any]]:
    """Different batches of real examples, in memory and writable, each as long as its longest text.

    Args:
        snapshot: Directory of the split.
        batch_size: Examples in a batch; a small split is repeated to fill one.
        count: Most batches; fewer where the split or ``most_bytes`` is smaller.
        most_bytes: Most bytes of all batches together, but for the first.
    """
    import numpy as np

    data = Snapshot(snapshot)
    bytes_each = sum(array[:1].nbytes for array in data.inputs.values()) * batch_size
    most = max(1, min(count, most_bytes // max(1, bytes_each), data.examples // batch_size))
    rows = [np.arange(i * batch_size, (i + 1) * batch_size) % data.examples for i in range(most)]
    return [data.take(row) for row in rows]

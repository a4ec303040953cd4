"""What the timing worker adds to the p50 of a model, against a bare loop.

Both run in this process on one session and one pool of bound inputs, in shuffled turns of 50
inferences: the worker's own method, and a loop with nothing but the clock.

    python benchmarks/harness_overhead.py MODEL_DIRECTORY SNAPSHOT_DIRECTORY [ROUNDS]

The first is an ONNX artifact (a run's ``model/``), the second a snapshot of its data.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from mlopt import stats
from mlopt.machine import usable_cpus
from mlopt.profiling.session import TimingSession
from mlopt.runners import RUNNERS
from mlopt.types.candidate import Stage

BLOCK, WARMUP = 50, 3


def main(model: Path, snapshot: Path, rounds: int) -> None:
    """Prints both medians and the paired ratio with its interval."""
    settings = RUNNERS["onnxruntime"]().resolve(usable_cpus()).model_dump(mode="json")
    stage = Stage(artifact=str(model), runner="onnxruntime", provider="cpu", settings=settings)
    session = TimingSession(stage.model_dump(mode="json"), str(model), str(snapshot), [1], 64)
    calls = session._calls[1]

    def bare() -> list[int]:
        found = []
        for call in islice(cycle(calls), WARMUP):
            call()
        for call in islice(cycle(calls), BLOCK):
            start = time.perf_counter_ns()
            call()
            found.append(time.perf_counter_ns() - start)
        return found

    ways = {"harness": lambda: session.time_block(1, BLOCK, WARMUP, 0), "bare": bare}
    samples: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
    order = random.Random(0)
    for number in range(rounds):
        names = list(ways)
        order.shuffle(names)
        for name in names:
            samples[name] += [(ns / 1e6, number) for ns in ways[name]()]
    blocks = {}
    for name, rows in samples.items():
        values, index = np.array(rows).T
        blocks[name] = stats.Rounds(values, np.zeros(len(rows), int), index.astype(int))
        print(f"{name}: p50 {statistics.median(values):.4f} ms of {len(rows)}")
    ratio = stats.paired_p50_ratio(blocks["harness"], blocks["bare"], seed=0)
    print(f"ratio: {ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 200)

"""What the timing worker adds to the p50 of a model of 0.3 ms, against a bare loop.

Both run in this process, on one session and one pool of bound inputs, in shuffled turns of 50
inferences: the worker's own method, and a loop with nothing but the clock. Every launch is a
process of its own, so that the layout of memory is another one.

    python benchmarks/harness_overhead.py [LAUNCHES] [ROUNDS]

It prints the ratio and writes it to ``benchmarks/harness_overhead.md``.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from graphs import small_network

from mlopt import stats
from mlopt.machine import usable_cpus
from mlopt.machine.environment import describe_environment
from mlopt.profiling.samples import Samples
from mlopt.profiling.session import TimingSession
from mlopt.runners import RUNNERS, opening_of
from mlopt.types.candidate import Stage
from mlopt.workers import run_task

BLOCK, WARMUP, POOL = 50, 3, 64
CHANNELS = 32
TABLE = Path(__file__).with_suffix(".md")


def main(launches: int, rounds: int) -> None:
    """Prints both medians and the paired ratio with its interval."""
    seen = {"harness": Samples(), "bare": Samples()}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        small_network(work / "small.onnx", CHANNELS)
        (work / "artifact").mkdir()
        run_task(
            "mlopt.pipeline.tasks.adopt:adopt",
            {
                "onnx": str(work / "small.onnx"),
                "workspace": str(work / "artifact"),
                "snapshot": str(work / "inputs"),
                "data": None,
                "seed": 0,
            },
        )
        for launch in range(launches):
            command = [sys.executable, __file__, "--launch", str(work), str(launch), str(rounds)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            for name, blocks in found.items():
                for number, block in enumerate(blocks):
                    seen[name].add(launch, number, block)
    ratio = stats.paired_p50_ratio(
        seen["harness"].block_medians(), seen["bare"].block_medians(), seed=0
    )
    p50 = {name: float(np.median(samples.ns)) / 1e6 for name, samples in seen.items()}
    machine = describe_environment(())
    text = (
        "# What the harness adds\n\n"
        f"`python benchmarks/harness_overhead.py {launches} {rounds}`, on {machine.cpus} of the "
        f"processors of an {machine.cpu}: the p50 of the timing worker is {p50['harness']:.4f} ms, "
        f"that of a bare loop {p50['bare']:.4f} ms; their ratio, paired in each of {launches} x {rounds} "
        f"rounds, is {ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f}).\n"
    )
    TABLE.write_text(text, encoding="utf-8")
    print(text)


def launch(work: Path, number: int, rounds: int) -> None:
    """One process: prints the nanoseconds of each block of both ways, as JSON."""
    settings = RUNNERS["onnxruntime"]().resolve(usable_cpus()).model_dump(mode="json")
    stage = Stage(
        artifact=str(work / "artifact"), runner="onnxruntime", provider="cpu", settings=settings
    )
    session = TimingSession(opening_of(stage, work), str(work / "inputs"), [1], POOL)
    calls = session._calls[1]  # the same bound inputs, without the harness around them

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
    blocks: dict[str, list[list[int]]] = {name: [] for name in ways}
    order = random.Random(number)
    for _ in range(rounds):
        names = list(ways)
        order.shuffle(names)
        for name in names:
            blocks[name].append(ways[name]())
    print(json.dumps(blocks))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--launch"]:
        launch(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(*(int(word) for word in (*sys.argv[1:], *("8", "40")[len(sys.argv) - 1 :])))

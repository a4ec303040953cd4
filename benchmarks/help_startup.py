"""How long ``mlopt --help`` takes, against an empty Typer application with two commands.

Both are started in turn, in shuffled pairs, and compared as the median of the ratios of the pairs.

    python benchmarks/help_startup.py [PAIRS]
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EMPTY = """
import typer

app = typer.Typer()

@app.command()
def a() -> None:
    pass

@app.command()
def b() -> None:
    pass

app()
"""


def seconds(command: list[str]) -> float:
    """Wall-clock time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main(pairs: int) -> None:
    """Prints both medians and the ratio."""
    with tempfile.TemporaryDirectory() as directory:
        empty = Path(directory) / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        script = "import sys; from mlopt.cli.app import main; sys.exit(main())"
        commands = {
            "empty": [sys.executable, str(empty), "--help"],
            "mlopt": [sys.executable, "-c", script, "--help"],
        }
        for command in commands.values():
            seconds(command)
        times: dict[str, list[float]] = {name: [] for name in commands}
        order = random.Random(0)
        for _ in range(pairs):
            names = list(commands)
            order.shuffle(names)
            for name in names:
                times[name].append(seconds(commands[name]))
    ratios = sorted(m / e for m, e in zip(times["mlopt"], times["empty"], strict=True))
    for name, values in times.items():
        print(f"{name}: {statistics.median(values) * 1000:.0f} ms, median of {pairs}")
    print(
        f"ratio: {statistics.median(ratios):.3f} "
        f"(quartiles {ratios[pairs // 4]:.3f} to {ratios[3 * pairs // 4]:.3f})"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)

"""Do the intervals hold the truth as often as they say? Simulation with known truth.

Each cell is 2,000 runs of 5 launches x 20 rounds x 100 samples. Finished cells are kept in a file,
so that the script goes on where it was stopped; the table is written after each of them.

    python benchmarks/interval_coverage.py [--runs 2000] [--jobs 1] [--state CELLS.json] [--out TABLE.md]

On one free core it takes less than half an hour.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special

from mlopt import stats
from mlopt.profiling.diagnostics import diagnose
from mlopt.types.estimate import Estimate

Floats = NDArray[np.float64]
Shape = tuple[int, int, int]
Rng = np.random.Generator

SEED = 20_240_607
RUNS = 2000
SHAPE: Shape = (5, 20, 100)
RESAMPLES = 150
GATES = 2  # times as many runs, for an error of 2.5% is rare
LOOKS = (4, 6, 8, 10, 12)
PRECISION = 0.01
BOUNDARY = 1.02
LAUNCH_SD = 0.01
DRIFT = 0.05
WALK_STEP = 0.02
AR = 0.9
UNREST, UNREST_SPREAD = 0.03, 0.8


class Scenario(NamedTuple):
    """How latencies come about.

    Attributes:
        kind: The distribution of the logarithm of a sample.
        launch_sd: Of the effect of a launch, on the logarithm.
        drift: By how much the logarithm rises from the first round of all to the last.
        speeds: The logarithm of how much slower the machine is in half of the rounds.
        unrest: The typical standard deviation of what neighbours add to the logarithm of a block; in
            some launches it is several times that, in others next to nothing.
    """

    kind: str
    launch_sd: float = 0.0
    drift: float = 0.0
    speeds: float = 0.0
    unrest: float = 0.0


SCENARIOS = {
    "log-normal": Scenario("log-normal"),
    "bimodal": Scenario("bimodal"),
    "heavy-tailed": Scenario("heavy-tailed"),
    "AR(1), phi 0.9": Scenario("AR(1)"),
    "linear drift of 5%": Scenario("log-normal", drift=DRIFT),
    "launch effects": Scenario("log-normal", LAUNCH_SD),
    "bimodal, launch effects": Scenario("bimodal", LAUNCH_SD),
    "heavy-tailed, launch effects": Scenario("heavy-tailed", LAUNCH_SD),
    "AR(1), launch effects": Scenario("AR(1)", LAUNCH_SD),
    "linear drift, launch effects": Scenario("log-normal", LAUNCH_SD, drift=DRIFT),
    "two speeds of the machine, launch effects": Scenario("log-normal", LAUNCH_SD, speeds=0.3),
    "restless launches": Scenario("log-normal", unrest=UNREST),
    "restless launches, launch effects": Scenario("log-normal", LAUNCH_SD / 2, unrest=UNREST),
}
ESTIMANDS = ("p50", "p99", "mean", "paired p50 ratio", "p99 ratio")


def samples(kind: str, rng: Rng, shape: Shape) -> Floats:
    """Logarithms of latencies around 0, each block independent of the others."""
    if kind == "log-normal":
        return rng.normal(0, 0.1, shape)
    if kind == "bimodal":
        return np.where(rng.random(shape) < 0.8, 0.0, 0.4) + rng.normal(0, 0.03, shape)
    if kind == "heavy-tailed":
        return np.log1p(0.1 * rng.pareto(2.2, shape))
    noise = rng.normal(0, 0.1, shape)
    noise[..., 1:] *= math.sqrt(1 - AR**2)
    filtered: Floats = signal.lfilter([1.0], [1.0, -AR], noise, axis=-1)
    return filtered


def machine(scenario: Scenario, rng: Rng, shape: Shape) -> Floats:
    """What the machine adds to the logarithm in each round, the same for all candidates."""
    launches, rounds, _ = shape
    slow = rng.random((launches, rounds, 1)) < 0.5
    trend = np.linspace(0, scenario.drift, launches * rounds).reshape(launches, rounds, 1)
    return trend + np.where(slow, scenario.speeds, 0.0)


def neighbours(scenario: Scenario, rng: Rng, shape: Shape) -> Floats | float:
    """What neighbours add to the logarithm of each block of a candidate; their unrest is the launch's."""
    if not scenario.unrest:
        return 0.0
    scale = scenario.unrest * np.exp(UNREST_SPREAD * rng.normal(0, 1, (shape[0], 1, 1)))
    return scale * rng.normal(0, 1, (*shape[:2], 1))


def candidate(scenario: Scenario, rng: Rng, shape: Shape, shared: Floats | float) -> Floats:
    """The latencies of one candidate, whose p50 is about 1."""
    effects = rng.normal(0, 1, (shape[0], 1, 1)) * scenario.launch_sd
    own = effects + neighbours(scenario, rng, shape)
    return np.exp(samples(scenario.kind, rng, shape) + own + shared)


def as_rounds(values: Floats) -> stats.Rounds:
    """Values of shape (launches, rounds, samples) with their launches and rounds."""
    launch, round_, _ = np.indices(values.shape)
    return stats.Rounds(values.ravel(), launch.ravel(), round_.ravel())


def block_medians(scenario: Scenario, rng: Rng, shape: Shape, shared: Floats) -> Floats:
    """The medians of a candidate's blocks, (launches, rounds, 1): all that the paired ratio sees."""
    medians: Floats = np.median(candidate(scenario, rng, shape, shared), axis=2, keepdims=True)
    return medians


def truth(scenario: Scenario, rng: Rng) -> dict[str, float]:
    """What the intervals are to hold, from 8 million samples, each with a launch of its own."""
    shape = (80_000, 1, 100)
    marginal = "log-normal" if scenario.kind == "AR(1)" else scenario.kind
    values = samples(marginal, rng, shape) + rng.normal(0, 1, shape) * scenario.launch_sd
    values += machine(scenario, rng, shape) + neighbours(scenario, rng, shape)
    latencies = np.exp(values).ravel()
    p50, p99 = np.quantile(latencies, [0.5, 0.99])
    found = {"p50": float(p50), "p99": float(p99), "mean": float(latencies.mean())}
    return found | {"paired p50 ratio": 1.0, "p99 ratio": 1.0}


def coverage(scenario: Scenario, runs: int, seed: int, shape: Shape = SHAPE) -> dict[str, int]:
    """How many of the runs' nominal 95% intervals hold the truth, by estimand."""
    true = truth(scenario, np.random.default_rng([seed, 1]))
    held = dict.fromkeys(ESTIMANDS, 0)
    for run in range(runs):
        rng = np.random.default_rng([seed, 2, run])
        shared = machine(scenario, rng, shape)
        ours, theirs = (as_rounds(candidate(scenario, rng, shape, shared)) for _ in range(2))
        estimates = (
            stats.quantile(ours, 0.5, seed=run, resamples=RESAMPLES),
            stats.quantile(ours, 0.99, seed=run, resamples=RESAMPLES),
            stats.mean(ours, seed=run, resamples=RESAMPLES),
            stats.paired_p50_ratio(ours, theirs, seed=run, resamples=RESAMPLES),
            stats.tail_ratio(ours, theirs, 0.99, seed=run, resamples=RESAMPLES),
        )
        for name, estimate in zip(ESTIMANDS, estimates, strict=True):
            held[name] += holds(estimate, true[name])
    return held


def holds(estimate: Estimate, true: float) -> bool:
    """Whether the interval holds the truth."""
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= true <= estimate.high


def gate(scenario: Scenario, runs: int, seed: int) -> dict[str, int]:
    """The gate's whole rule where the true ratio is just the tolerance: both verdicts are errors."""
    confidences = stats.look_confidence(LOOKS)
    seen = {"PASS": 0, "FAIL": 0}
    shape = (LOOKS[-1], *SHAPE[1:])
    for run in range(runs):
        rng = np.random.default_rng([seed, 3, run])
        shared = machine(scenario, rng, shape)
        ours, theirs = (block_medians(scenario, rng, shape, shared) for _ in range(2))
        for launches, confidence in zip(LOOKS, confidences, strict=True):
            ratio = stats.paired_p50_ratio(
                as_rounds(ours[:launches] * BOUNDARY),
                as_rounds(theirs[:launches]),
                seed=run,
                resamples=RESAMPLES,
                confidence=confidence,
            )
            assert ratio.low is not None
            assert ratio.high is not None
            if ratio.high < BOUNDARY or ratio.low > BOUNDARY:
                seen["PASS" if ratio.high < BOUNDARY else "FAIL"] += 1
                break
    return seen


def by_precision(scenario: Scenario, confidence: float, runs: int, seed: int) -> dict[str, int]:
    """From 5 launches to 12, until the half-width of the interval of the p50 ratio is 1%.

    Args:
        scenario: Where the true ratio is just the gate's tolerance.
        confidence: Of the interval that is looked at, and reported.
        runs: How many.
        seed: Of all randomness.
    """
    seen = {"held": 0, "PASS": 0, "FAIL": 0, "launches": 0}
    shape = (LOOKS[-1], *SHAPE[1:])
    for run in range(runs):
        rng = np.random.default_rng([seed, 4, run])
        shared = machine(scenario, rng, shape)
        ours, theirs = (block_medians(scenario, rng, shape, shared) for _ in range(2))
        for launches in range(SHAPE[0], LOOKS[-1] + 1):
            ratio = stats.paired_p50_ratio(
                as_rounds(ours[:launches] * BOUNDARY),
                as_rounds(theirs[:launches]),
                seed=run,
                resamples=RESAMPLES,
                confidence=confidence,
            )
            assert ratio.low is not None
            assert ratio.high is not None
            if (ratio.high - ratio.low) / 2 <= PRECISION * ratio.value:
                break
        assert ratio.low is not None
        assert ratio.high is not None
        seen["held"] += holds(ratio, BOUNDARY)
        seen["PASS"] += ratio.high < BOUNDARY
        seen["FAIL"] += ratio.low > BOUNDARY
        seen["launches"] += launches
    return seen


def warned(scenario: Scenario, step: float, runs: int, seed: int) -> dict[str, int]:
    """How often the diagnostics of a report warn; the speed may walk at random besides."""
    seen = dict.fromkeys(("drift", "random walk", "either", "two modes"), 0)
    for run in range(runs):
        rng = np.random.default_rng([seed, 5, run])
        walk = np.cumsum(rng.normal(0, step, SHAPE[:2])).reshape(*SHAPE[:2], 1)
        shared = machine(scenario, rng, SHAPE) + walk
        rounds = as_rounds(block_medians(scenario, rng, SHAPE, shared))
        warnings = {one.name for one in diagnose(rounds) if one.status == "warning"}
        for name in seen:
            seen[name] += name in warnings
        seen["either"] += bool(warnings & {"drift", "random walk"})
    return seen


def accuracy(n: int, margin: float, gains: float, runs: int, seed: int) -> dict[str, int]:
    """Non-inferiority by Tango's interval, where the true drop is just the margin."""
    rng = np.random.default_rng([seed, 6])
    shares = [gains, gains + margin, 1 - 2 * gains - margin]
    seen = {"held": 0, "PASS": 0, "FAIL": 0}
    outcomes, times = np.unique(rng.multinomial(n, shares, runs), axis=0, return_counts=True)
    for (gained, lost, _), count in zip(outcomes.tolist(), times.tolist(), strict=True):
        low, high = stats.tango_interval(gained, lost, n)
        seen["held"] += count * (low <= -margin <= high)
        seen["PASS"] += count * (low > -margin)
        seen["FAIL"] += count * (high < -margin)
    return seen


RESTLESS = ("restless launches", "restless launches, launch effects")
STEADY = ("log-normal", "launch effects", "heavy-tailed, launch effects")
GATED = (*STEADY, "AR(1), launch effects", *RESTLESS)
STOPPED = (*STEADY, *RESTLESS)
WALKS = (0.01, WALK_STEP, 0.05)
DIAGNOSED = (*SCENARIOS, *(f"random walk, {step:.0%} a round" for step in WALKS))
ACCURACY = {
    "300 examples, 5 points": (300, 0.05, 0.02),
    "1,000 examples, 1 point": (1000, 0.01, 0.02),
    "1,000 examples, 2 points": (1000, 0.02, 0.005),
    "10,000 examples, 0.5 points": (10_000, 0.005, 0.01),
}
ADAPTIVE = stats.confidence_after_precision(SHAPE[0], LOOKS[-1])


def seed(name: str) -> int:
    """A seed for each row, so that no two rows share their random numbers."""
    return SEED + zlib.crc32(name.encode())


def cells(runs: int) -> dict[str, Callable[[], dict[str, int]]]:
    """What is to be simulated, by name."""
    found: dict[str, Callable[[], dict[str, int]]] = {}
    for name, case in ACCURACY.items():
        found[f"accuracy/{name}"] = partial(accuracy, *case, 100 * runs, seed(name))
    for name in GATED:
        found[f"gate/{name}"] = partial(gate, SCENARIOS[name], GATES * runs, seed(name))
    for name in STOPPED:
        for confidence in (0.95, ADAPTIVE):
            of = f"precision/{confidence:.3f}/{name}"
            found[of] = partial(by_precision, SCENARIOS[name], confidence, runs, seed(name))
    for name, scenario in SCENARIOS.items():
        found[f"coverage/{name}"] = partial(coverage, scenario, runs, seed(name))
    steps = dict.fromkeys(SCENARIOS, 0.0) | dict(zip(DIAGNOSED[-len(WALKS) :], WALKS, strict=True))
    for name, step in steps.items():
        scenario = SCENARIOS.get(name, SCENARIOS["launch effects"])
        found[f"warnings/{name}"] = partial(warned, scenario, step, runs, seed(name))
    return found


Counts = dict[str, dict[str, int]]


def binomial_interval(hits: int, runs: int) -> tuple[float, float]:
    """The exact 95% interval of a share: Clopper & Pearson, Biometrika 26 (1934) 404-413."""
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, runs - hits + 1, 0.025))
    high = 1.0 if hits == runs else float(special.betaincinv(hits + 1, runs - hits, 0.975))
    return low, high


def share(hits: int, runs: int) -> str:
    """A share in percent, with its interval."""
    low, high = binomial_interval(hits, runs)
    return f"{hits / runs:.1%} ({low:.1%} to {high:.1%})"


def kept(scenario: str, estimand: str, hits: int, runs: int) -> bool:
    """Whether the promise is kept: at least 93%, and at most 97% of what does not drift."""
    stationary = not SCENARIOS[scenario].drift or "ratio" in estimand
    return hits / runs >= 0.93 and (hits / runs <= 0.97 or not stationary)


def row(*columns: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(columns) + " |"


def table(*columns: str) -> list[str]:
    """The head of a table."""
    return ["", row(*columns), row(*["---"] * len(columns))]


def document(seen: Counts, runs: int) -> str:
    """All tables, as far as they are known."""
    lines = [
        "# Coverage of the intervals",
        "",
        f"Written by `benchmarks/interval_coverage.py`: {runs:,} runs a cell, seed {SEED}, "
        f"{SHAPE[0]} launches x {SHAPE[1]} rounds x {SHAPE[2]} samples, {RESAMPLES} resamples for "
        "each interval (mlopt takes 2,000). In brackets, the exact 95% interval of a share. "
        f"Launch effects have a standard deviation of {LAUNCH_SD:.0%}, for each candidate its own; "
        f"the drift is {DRIFT:.0%} from the first round to the last, for all candidates alike; "
        "the two speeds are 30% apart, each in half of the rounds; in restless launches, neighbours shift each "
        f"block by a standard deviation that is log-normal, of the median {UNREST:.0%} and the standard deviation "
        f"{UNREST_SPREAD} (of its logarithm), drawn for each launch, and launch effects, where there are "
        "any, are half as large.",
        "",
        "## One look: nominal 95% intervals that hold the truth",
        "",
        "Promised: at least 93% everywhere, at most 97% for ratios and where nothing drifts. "
        "What does not keep it is in bold.",
    ]
    lines += table("latencies", *ESTIMANDS)
    for name in SCENARIOS:
        if held := seen.get(f"coverage/{name}"):
            marks = ["" if kept(name, e, held[e], runs) else "**" for e in ESTIMANDS]
            shares = [share(held[e], runs) for e in ESTIMANDS]
            lines.append(row(name, *(m + s + m for m, s in zip(marks, shares, strict=True))))
    lines += gate_lines(seen, runs) + precision_lines(seen, runs)
    lines += accuracy_lines(seen, runs) + diagnostic_lines(seen, runs)
    return "\n".join(lines) + "\n"


def gate_lines(seen: Counts, runs: int) -> list[str]:
    """The gate's rule."""
    lines = [
        "",
        "## The gate's whole rule on its boundary",
        "",
        f"{GATES * runs:,} runs a row. The true p50 ratio is the tolerance itself, {BOUNDARY}: PASS and FAIL "
        "are both errors, and equally likely, as nothing tells the two candidates apart. Looks "
        f"after {', '.join(map(str, LOOKS))} launches. Promised: 2.5% at most, and simulation error.",
    ]
    lines += table("latencies", "PASS", "FAIL", "mean of both")
    for name in GATED:
        if found := seen.get(f"gate/{name}"):
            passed, failed = (share(found[verdict], GATES * runs) for verdict in ("PASS", "FAIL"))
            either = share(found["PASS"] + found["FAIL"], 2 * GATES * runs)
            lines.append(row(name, passed, failed, either))
    return lines


def precision_lines(seen: Counts, runs: int) -> list[str]:
    """Stopping by precision."""
    lines = [
        "",
        "## Stopping by precision",
        "",
        f"From {SHAPE[0]} launches to {LOOKS[-1]}, until the half-width of the p50 ratio is "
        f"{PRECISION:.0%}. Reported is the interval that was looked at; its nominal confidence is "
        f"that of `stats.confidence_after_precision`, and plain 95% for comparison. The ratio is {BOUNDARY}: "
        "an interval wholly below or above it would be a wrong verdict.",
    ]
    lines += table("latencies", "nominal", "holds the truth", "below", "above", "launches (mean)")
    for name in STOPPED:
        for confidence in (0.95, ADAPTIVE):
            if found := seen.get(f"precision/{confidence:.3f}/{name}"):
                errors = (share(found[verdict], runs) for verdict in ("PASS", "FAIL"))
                held, mean = share(found["held"], runs), f"{found['launches'] / runs:.1f}"
                lines.append(row(name, f"{confidence:.1%}", held, *errors, mean))
    return lines


def accuracy_lines(seen: Counts, runs: int) -> list[str]:
    """Non-inferiority of the accuracy."""
    lines = [
        "",
        "## Non-inferiority of the accuracy on its boundary",
        "",
        f"{100 * runs:,} runs a row. The true drop is the margin itself. Promised: PASS at most in 2.5%.",
    ]
    lines += table("holdout and margin", "holds the truth", "PASS", "FAIL")
    for name in ACCURACY:
        if found := seen.get(f"accuracy/{name}"):
            lines.append(
                row(name, *(share(found[k], 100 * runs) for k in ("held", "PASS", "FAIL")))
            )
    return lines


def diagnostic_lines(seen: Counts, runs: int) -> list[str]:
    """False and true alarms."""
    lines = [
        "",
        "## Diagnostics",
        "",
        "How often a report warns of what is named. The random walk is on top of launch effects.",
    ]
    names = ("drift", "random walk", "either", "two modes")
    lines += table("latencies", "drift", "random walk", "drift or random walk", "two modes")
    for name in DIAGNOSED:
        if found := seen.get(f"warnings/{name}"):
            lines.append(row(name, *(share(found[key], runs) for key in names)))
    return lines


def simulated(
    todo: dict[str, Callable[[], dict[str, int]]], jobs: int
) -> Iterator[tuple[str, dict[str, int]]]:
    """The cells as they are done, here or by so many processes."""
    if jobs == 1:
        for name, simulate in todo.items():
            yield name, simulate()
        return
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(simulate): name for name, simulate in todo.items()}
        for job in as_completed(running):
            yield running[job], job.result()


def main() -> None:
    """Simulates what is missing, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--state", type=Path, default=Path("interval_coverage.json"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    key = f"{options.runs} runs, {RESAMPLES} resamples, seed {SEED}"
    stored = json.loads(options.state.read_text()) if options.state.exists() else {}
    seen: Counts = stored.get(key, {})
    todo = {name: run for name, run in cells(options.runs).items() if name not in seen}
    for name, counts in simulated(todo, options.jobs):
        seen[name] = counts
        print(f"{name}: {counts}", flush=True)
        part = options.state.with_suffix(".part")
        part.write_text(json.dumps(stored | {key: seen}, indent=1))
        part.replace(options.state)
        options.out.write_text(document(seen, options.runs))
    options.out.write_text(document(seen, options.runs))
    print(document(seen, options.runs))


if __name__ == "__main__":
    main()

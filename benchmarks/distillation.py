"""Distillation against plain fine-tuning of equal length, from the same pruned model.

``sample_models/digits_resnet`` loses half of its multiply-accumulate operations. The pruned model is
then trained twice for each seed, with the same options, data, order of the examples and
augmentation: on the labels alone, and taught by the whole model. What is compared is the accuracy
on the holdout, which neither has seen, as the difference within each seed.

    python benchmarks/distillation.py [--seeds 5] [--epochs 12] [--output benchmarks/distillation.md]

It writes a table, whatever it says. On two idle cores it takes about ten minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.evaluation.metrics import predicted_classes
from mlopt.evaluation.scoring import score
from mlopt.machine import usable_cpus
from mlopt.machine.environment import describe_environment
from mlopt.pipeline.builder import Builder
from mlopt.pipeline.prepared import Prepared, prepare
from mlopt.project import load_project
from mlopt.runners import RUNNERS
from mlopt.stats import mean_interval
from mlopt.store.cache import Cache
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage, Step
from mlopt.types.estimate import Estimate
from mlopt.workers import Limits

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_models" / "digits_resnet"
WAYS = ("finetune", "distill")
REMOVED = 0.5


class Trained(NamedTuple):
    """One seed: accuracy on the holdout, of the pruned model before and after each training."""

    seed: int
    pruned: Artifact
    before: float
    after: dict[str, float]
    seconds: dict[str, float]


def main() -> None:
    """Trains, prints the table, and writes it."""
    parser = argparse.ArgumentParser(description="Distillation against fine-tuning.")
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlopt-benchmark-") as directory:
        cache, scratch = Cache(Path(directory) / "cache"), Path(directory)
        prepared = prepare(load_project(SAMPLE), cache, 0, Limits(), _say)
        whole = accuracy(prepared.source, prepared, scratch)
        runs = [
            train_both(prepared, cache, scratch, seed, asked.epochs) for seed in range(asked.seeds)
        ]
        table = report(whole, runs, prepared, asked.epochs)
    print(table)
    asked.output.write_text(table, encoding="utf-8")


def train_both(prepared: Prepared, cache: Cache, scratch: Path, seed: int, epochs: int) -> Trained:
    """Prunes, and trains the result in both ways."""
    builder = Builder(prepared, cache, seed)
    prune = Step(transformation="prune_channels", options={"remove": REMOVED})
    pruned = builder.build((prune,), Limits, _say).artifact
    after, seconds = {}, {}
    for way in WAYS:
        step = Step(transformation=way, options={"epochs": epochs, "patience": None})
        trained = builder.build((prune, step), Limits, _say).artifact
        after[way] = accuracy(trained, prepared, scratch)
        seconds[way] = facts(trained)["training"]["seconds"]
    return Trained(seed, pruned, accuracy(pruned, prepared, scratch), after, seconds)


def accuracy(artifact: Artifact, prepared: Prepared, scratch: Path) -> float:
    """Share of the holdout that a torch artifact gets right."""
    settings = RUNNERS["pytorch"]().resolve(usable_cpus()).model_dump(mode="json")
    stage = Stage(
        artifact=str(artifact.directory), runner="pytorch", provider="cpu", settings=settings
    )
    holdout, answers = prepared.snapshots["holdout"], scratch / "answers.npy"
    score(
        stage.model_dump(mode="json"),
        str(SAMPLE),
        str(holdout),
        str(answers),
        None,
        "classification",
    )
    targets = Snapshot(holdout).targets
    assert targets is not None
    return float((predicted_classes(np.load(answers)) == targets).mean())


def report(whole: float, runs: Sequence[Trained], prepared: Prepared, epochs: int) -> str:
    """The table, and how to read it."""
    pruned = facts(runs[0].pruned)
    environment = describe_environment(())
    libraries = ", ".join(
        f"{name} {environment.libraries[name]}"
        for name in ("torch", "numpy")
        if name in environment.libraries
    )
    difference = mean_interval([run.after["distill"] - run.after["finetune"] for run in runs])
    lines = [
        "# Distillation against plain fine-tuning",
        "",
        f"`digits_resnet`, {1 - pruned['macs'] / pruned['macs_before']:.0%} of its multiply-accumulate "
        f"operations and {1 - pruned['parameters'] / pruned['parameters_before']:.0%} of its "
        f"parameters removed, then {epochs} epochs on {prepared.data['training'].examples} examples. "
        f"Accuracy on the holdout of {prepared.data['holdout'].examples}; the whole model has "
        f"{whole:.2%}.",
        "",
        "| seed | pruned | fine-tuned | distilled | difference |",
        "|---|---|---|---|---|",
        *(
            f"| {run.seed} | {run.before:.2%} | {run.after['finetune']:.2%} | "
            f"{run.after['distill']:.2%} | {_points(run.after['distill'] - run.after['finetune'])} |"
            for run in runs
        ),
        f"| mean (95% interval) | {_share(mean_interval([r.before for r in runs]))} | "
        f"{_share(mean_interval([r.after['finetune'] for r in runs]))} | "
        f"{_share(mean_interval([r.after['distill'] for r in runs]))} | {_difference(difference)} |",
        "",
        f"{_verdict(difference)} Intervals are Student's over the seeds; they say how training "
        f"varies on this holdout, not how far another one would differ.",
        "",
        f"{environment.cpu}, "
        f"{environment.cpus} cores; {libraries}. Made by `benchmarks/distillation.py`.",
        "",
    ]
    return "\n".join(lines)


def facts(artifact: Artifact) -> dict[str, Any]:
    """What the last step of an artifact found."""
    return artifact.manifest.lineage[-1].facts


def _verdict(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return "One seed shows no difference."
    if difference.low > 0:
        return "Here the teacher adds something."
    if difference.high < 0:
        return "Here the teacher takes something away."
    return "Here no difference is shown."


def _share(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2%}"
    return f"{estimate.value:.2%} ({estimate.low:.2%} to {min(1.0, estimate.high):.2%})"


def _difference(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _points(estimate.value)
    return f"{_points(estimate.value)} ({_points(estimate.low)} to {_points(estimate.high)})"


def _points(share: float) -> str:
    return f"{100 * share:+.2f} points"


def _say(message: str, done: float | None) -> None:
    share = "" if done is None else f" ({done:.0%})"
    print(f"\r\033[K{message}{share}", end="", flush=True)


if __name__ == "__main__":
    main()

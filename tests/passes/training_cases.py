"""Small models and data for what trains: separable classes, a straight line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from pass_bench import Bench

from mlopt.passes import PASSES
from mlopt.pipeline.tasks.build import BuildContext
from mlopt.types.artifact import Artifact
from mlopt.types.passes import Draft, TrainingSetup
from mlopt.types.tensors import TensorSpec

Array = np.ndarray[Any, Any]

POINTS = (TensorSpec(name="x", dtype="float32", shape=("batch", 4)),)

MLP = """
from torch import nn

class Model(nn.Module):
    def __init__(self, width=16, outputs=3, normalised=True):
        super().__init__()
        norm = nn.BatchNorm1d(width) if normalised else nn.Identity()
        self.hidden = nn.Sequential(nn.Linear(4, width), norm, nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(self.hidden(x))

def build(**arguments):
    return Model(**arguments)
"""


def classified(seed: int, count: int) -> tuple[Array, Array]:
    """Points around three centres, and which."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(3, 4)) * 1.5
    labels = random.integers(0, 3, count)
    return (centres[labels] + random.normal(size=(count, 4))).astype(np.float32), labels


class School:
    """A bench with a training split; steps can be run twice in the same surroundings."""

    def __init__(self, directory: Path, inputs: Array, targets: Array | None) -> None:
        self.bench = Bench(directory)
        shutil.rmtree(directory / "selection")  # images, which these models do not take
        self.bench.add_split("selection", {"x": inputs[:8]})
        self.bench.add_split("training", {"x": inputs}, targets)

    def says(self, **setup: Any) -> None:
        """What the project says about training."""
        before = self.bench.training.model_dump()
        self.bench.training = TrainingSetup.model_validate({**before, **setup})

    def model(self, code: str = MLP, outputs: tuple[str, ...] = ()) -> Artifact:
        return self.bench.source(code, POINTS, outputs)

    def context(self, seed: int = 0) -> Surroundings:
        context = self.bench.context(seed)
        return Surroundings(context)


class Killed(Exception):
    """What a test ends a training with."""


class Surroundings(BuildContext):
    """A context that notes what is said, and can end the step at a message."""

    def __init__(self, other: BuildContext) -> None:
        self.__dict__ |= other.__dict__
        self.said: list[str] = []
        self.shares: list[float] = []
        self.killed_at: str | None = None

    def emit(self, message: str, done: float | None = None) -> None:
        self.said.append(message)
        self.shares.append(done if done is not None else 0.0)
        if self.killed_at is not None and self.killed_at in message:
            raise Killed


def apply(name: str, artifact: Artifact, context: Surroundings, **options: Any) -> Draft:
    """One step, in the surroundings; few threads and short unless said otherwise."""
    chosen = {"epochs": 4, "batch_size": 16, "threads": 1, **options}
    return PASSES[name].model_validate(chosen).resolve(frozenset()).apply(artifact, context)


def weights(context: Surroundings) -> dict[str, Array]:
    """What a step wrote."""
    from safetensors.numpy import load_file

    return load_file(context.workspace / "weights.safetensors")


def same_bits(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].tobytes() == other[name].tobytes() for name in one
    )

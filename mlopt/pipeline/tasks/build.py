"""Apply one pass. Runs in a worker."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.passes import PASSES
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact
from mlopt.types.passes import SplitArrays, TrainingSetup
from mlopt.workers import emit
from mlopt.workers.usercode import seed_randomness


class BuildContext:
    """The surroundings of a pass: see :class:`~mlopt.types.passes.PassContext`."""

    def __init__(
        self,
        workspace: Path,
        project_dir: Path,
        seed: int,
        snapshots: dict[str, str],
        scratch: Path,
        teacher: Path,
        checkpoints: Path,
        training: TrainingSetup,
    ) -> None:
        self.workspace = workspace
        self.project_dir = project_dir
        self.seed = seed
        self._checkpoints = checkpoints
        self.training = training
        self._teacher = teacher
        self._snapshots = {split: Snapshot(Path(path)) for split, path in snapshots.items()}
        self._scratch = scratch

    @property
    def checkpoints(self) -> Path:
        """A directory that survives a kill."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        return self._checkpoints

    @property
    def teacher(self) -> Artifact:
        """The model as the user brought it."""
        return Artifact.open(self._teacher)

    def data(self, split: str, batch_size: int) -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
        """Batches of a split's inputs."""
        return self._snapshots[split].batches(batch_size)

    def arrays(self, split: str) -> SplitArrays:
        """A split for random access."""
        snapshot = self._snapshots[split]
        return SplitArrays(snapshot.inputs, snapshot.targets, snapshot.hashes)

    def score(self, outputs: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> float:
        """The project's deciding metric."""
        from mlopt.evaluation.metrics import score_outputs

        return score_outputs(
            self.training.metric,
            self.training.function,
            self.training.task,
            outputs,
            targets,
            self.project_dir,
        )

    def examples(self, split: str) -> int:
        """Number of examples in a split."""
        return self._snapshots[split].examples

    def scratch(self) -> Path:
        """An empty directory that is gone afterwards."""
        return Path(tempfile.mkdtemp(dir=self._scratch))

    def emit(self, message: str, done: float | None = None) -> None:
        """Tells the user what is going on."""
        emit(message, done)


def build(
    transformation: str,
    parameters: dict[str, Any],
    artifact: str,
    workspace: str,
    scratch: str,
    project_dir: str,
    snapshots: dict[str, str],
    seed: int,
    teacher: str,
    checkpoints: str,
    training: dict[str, Any],
) -> dict[str, Any]:
    """Applies a pass with resolved parameters.

    Args:
        transformation: Name of the pass.
        parameters: All of them, resolved.
        artifact: Directory of the artifact that it consumes.
        workspace: Empty directory that becomes the new artifact.
        scratch: Directory for what must not end up in it.
        project_dir: Where the user's code is imported from.
        snapshots: Directory of each split that the pass declared.
        seed: For all randomness.
        teacher: Directory of the artifact that is the model as the user brought it.
        checkpoints: Directory for what an interrupted build goes on from; made when it is needed.
        training: What the project says about training, as :class:`TrainingSetup` in JSON.

    Returns:
        The :class:`~mlopt.types.passes.Draft`, as JSON.

    Raises:
        BuildError: The pass cannot be applied to this model.
    """
    # Threads that wait by spinning keep each other off a processor that others use as well.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    seed_randomness(seed)
    tempfile.tempdir = scratch  # libraries leave their temporary files where they get removed
    step = PASSES[transformation].model_validate(parameters)
    context = BuildContext(
        Path(workspace),
        Path(project_dir),
        seed,
        snapshots,
        Path(scratch),
        Path(teacher),
        Path(checkpoints),
        TrainingSetup.model_validate(training),
    )
    return step.apply(Artifact.open(Path(artifact)), context).model_dump(mode="json")

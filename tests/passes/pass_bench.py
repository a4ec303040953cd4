"""A bench that applies passes in this process, on small models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.passes import PASSES
from mlopt.pipeline.seal import seal
from mlopt.pipeline.tasks.build import BuildContext
from mlopt.sources.models.factory import FactoryModel
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import TrainingSetup
from mlopt.types.tensors import TensorSpec

Arrays = Mapping[str, np.ndarray[Any, Any]]

IMAGE = (TensorSpec(name="image", dtype="float32", shape=("batch", 1, 8, 8)),)


class Bench:
    """A project directory with one model, its data, and a place for artifacts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.project = directory / "project"
        self.project.mkdir()
        self.snapshots: dict[str, str] = {}
        self.training = TrainingSetup(
            task="classification", metric="accuracy", higher_is_better=True
        )
        self.teacher: Artifact
        self._made = 0
        for seed, split in enumerate(("calibration", "selection")):
            self.add_split(split, {"image": images(seed, 96)})

    def add_split(
        self, split: str, inputs: Arrays, targets: np.ndarray[Any, Any] | None = None
    ) -> None:
        target = self.directory / split
        with SnapshotWriter(target) as writer:
            writer.append(inputs, targets)
            writer.finish()
        self.snapshots[split] = str(target)

    def source(
        self, code: str, inputs: tuple[TensorSpec, ...] = IMAGE, outputs: tuple[str, ...] = ()
    ) -> Artifact:
        """The artifact of a model whose module is ``code``, which defines ``build``."""
        import torch
        from safetensors.torch import save_model

        name = f"model_{self.directory.name.replace('-', '_')}_{self._made}"
        (self.project / f"{name}.py").write_text(code)
        namespace: dict[str, Any] = {}
        exec(code, namespace)
        torch.manual_seed(0)
        save_model(namespace["build"](), str(self.project / f"{name}.safetensors"))
        model = FactoryModel(factory=f"{name}:build", weights=f"{name}.safetensors")
        workspace = self.new_directory()
        from mlopt.store.snapshot import Snapshot

        example = next(Snapshot(Path(self.snapshots["selection"])).batches(2))
        draft = model.materialise(workspace, self.project, inputs, outputs, example)
        seal(workspace, draft, "torch", (LineageStep(transformation="source"),), name)
        self.teacher = Artifact.open(workspace)
        return self.teacher

    def apply(self, name: str, artifact: Artifact, **options: Any) -> Artifact:
        step = PASSES[name].model_validate(options).resolve(frozenset({"avx2", "avx512_vnni"}))
        context = self.context()
        draft = step.apply(artifact, context)
        lineage = LineageStep(transformation=name, facts=draft.facts)
        seal(context.workspace, draft, step.produces, (*artifact.manifest.lineage, lineage), name)
        return Artifact.open(context.workspace)

    def context(self, seed: int = 0) -> BuildContext:
        """Surroundings with empty directories; the teacher is the latest source."""
        workspace, scratch, checkpoints = (self.new_directory() for _ in range(3))
        return BuildContext(
            workspace,
            self.project,
            seed,
            self.snapshots,
            scratch,
            self.teacher.directory,
            checkpoints,
            self.training,
        )

    def new_directory(self) -> Path:
        self._made += 1
        made = self.directory / f"made{self._made}"
        made.mkdir()
        return made


def images(seed: int, count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, 1, 8, 8)).astype(np.float32)

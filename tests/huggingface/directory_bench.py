"""A bench that reads, keeps and transforms a Hugging Face directory in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tiny_models import examples

from mlopt.passes import PASSES
from mlopt.pipeline.seal import carry_assets, seal
from mlopt.pipeline.tasks.build import BuildContext
from mlopt.sources.contract import ReadLimits, read_split
from mlopt.sources.data import DATA_SOURCES
from mlopt.sources.models.huggingface import HuggingFaceModel
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import TrainingSetup
from mlopt.types.tensors import TensorSpec

EXAMPLES = 70


class Prepared(NamedTuple):
    """A directory, read, checked and kept as ``mlopt optimize`` keeps it."""

    project: Path
    source: HuggingFaceModel
    inputs: tuple[TensorSpec, ...]
    snapshots: dict[str, str]
    artifact: Artifact

    def snapshot(self, split: str = "selection") -> Snapshot:
        return Snapshot(Path(self.snapshots[split]))

    def apply(self, name: str, artifact: Artifact, directory: Path, **options: Any) -> Artifact:
        """The artifact that a pass makes of another."""
        step = PASSES[name].model_validate(options).resolve(frozenset({"avx2", "avx512_vnni"}))
        workspace, scratch = directory / f"{name}-made", directory / f"{name}-scratch"
        workspace.mkdir()
        scratch.mkdir()
        training = TrainingSetup(task=self.source.task, metric="any", higher_is_better=True)
        context = BuildContext(
            workspace, self.project, 0, self.snapshots, scratch, self.artifact.directory, scratch,
            training,
        )  # fmt: skip
        draft = step.apply(artifact, context)
        carry_assets(artifact.directory, workspace)
        lineage = LineageStep(transformation=name, facts=draft.facts)
        seal(workspace, draft, step.produces, (*artifact.manifest.lineage, lineage), name)
        return Artifact.open(workspace)


def prepare(project: Path, task: str, **options: Any) -> Prepared:
    source = HuggingFaceModel.model_validate({"huggingface": "model", "task": task, **options})
    inputs = source.declared_inputs(project)
    assert inputs is not None
    preprocessor = source.preprocessor(project)
    snapshots = {}
    for split in ("calibration", "selection"):
        snapshots[split] = str(project.parent / split)
        read_split(
            _data(project, task, split), split, inputs, project, Path(snapshots[split]),
            ReadLimits(1000, 10**8), needs_targets=False, preprocessor=preprocessor,
        )  # fmt: skip
    workspace = project.parent / "artifact"
    workspace.mkdir()
    example = next(Snapshot(Path(snapshots["selection"])).batches(2))
    draft = source.materialise(workspace, project, inputs, (), example)
    lineage = LineageStep(transformation="source", facts=draft.facts)
    seal(workspace, draft, "torch", (lineage,), task)
    return Prepared(project, source, inputs, snapshots, Artifact.open(workspace))


def _data(project: Path, task: str, split: str) -> Any:
    seed = len(split)
    if task == "image-classification":
        pixels = np.random.default_rng(seed).integers(0, 256, (EXAMPLES, 20, 20), dtype=np.uint8)
        np.savez(project / f"{split}.npz", pixel_values=pixels, target=np.arange(EXAMPLES) % 3)
        return DATA_SOURCES["npz"].model_validate({"npz": f"{split}.npz"})
    lines = [json.dumps(example) for example in examples(task, seed, EXAMPLES)]
    (project / f"{split}.jsonl").write_text("\n".join(lines))
    return DATA_SOURCES["jsonl"].model_validate({"jsonl": f"{split}.jsonl"})

"""The user's model and data, checked, and kept where everybody can read them."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mlopt
from mlopt.errors import DataError, WorkerError
from mlopt.machine.environment import library_versions
from mlopt.pipeline.seal import seal
from mlopt.project import LoadedProject
from mlopt.store.cache import Cache
from mlopt.store.hashing import sha256_file, sha256_json, sha256_sources
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import Draft
from mlopt.types.plan import SplitSummary
from mlopt.types.tensors import fixed_batch
from mlopt.workers import Limits, run_task

PREPARE = "mlopt.pipeline.tasks.prepare:prepare"
SOURCE_LIBRARIES = (
    "torch", "safetensors", "onnx", "transformers", "tokenizers", "optimum-onnx",
)  # fmt: skip


class Prepared(NamedTuple):
    """What candidates are built from and measured on.

    Attributes:
        source: The model as the user brought it.
        snapshots: Directory of each split.
        data: What is known of each split.
    """

    project: LoadedProject
    source: Artifact
    snapshots: dict[str, Path]
    data: dict[str, SplitSummary]
    sources_sha256: str
    model_sha256: str

    @property
    def training_sha256(self) -> str:
        """Hash of what the project says about training, and of the student's weights."""
        training = self.project.project.training
        found = training.model_dump(mode="json")
        if training.student is not None and training.student.weights is not None:
            weights = self.project.directory / training.student.weights
            found["student_weights"] = sha256_file(weights)
        return sha256_json(found)

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the model insists on; None when it is dynamic."""
        return fixed_batch(self.project.project.inputs)


def prepare(
    loaded: LoadedProject,
    cache: Cache,
    seed: int,
    limits: Limits,
    on_event: Callable[[str, float | None], None],
) -> Prepared:
    """Reads data and model in a worker; the model only if it is not in the cache.

    Raises:
        ConfigError: The user's code cannot be imported.
        DataError: A split breaks the contract.
        ModelError: The model cannot be loaded, or does not accept the data.
    """
    _, directory, file = loaded
    model_hash, sources = _model_sha256(loaded), sha256_sources(directory)
    key = _source_key(loaded, model_hash, sources)
    known = cache.find("artifacts", key)
    with cache.workspace() as workspace:
        snapshots, model = workspace / "snapshots", workspace / "model"
        snapshots.mkdir()
        model.mkdir()
        outputs = None
        if known is not None:
            outputs = [o.model_dump(mode="json") for o in Artifact.open(known).manifest.outputs]
        arguments = {
            "project_file": str(file),
            "snapshots": str(snapshots),
            "model_workspace": None if known is not None else str(model),
            "outputs": outputs,
            "seed": seed,
        }
        try:
            answer = run_task(PREPARE, arguments, limits, on_event)
        except WorkerError as e:
            raise DataError(
                f"reading the project's data and model failed: {e}. It runs the project's own code "
                "in a process; run that by itself to see more, or raise 'limits' or --time-limit."
            ) from e
        if known is None:
            known = _store_model(cache, key, model, Draft.model_validate(answer["draft"]), loaded)
        kept = {split: _store_snapshot(cache, snapshots / split) for split in answer["splits"]}
    classes = loaded.project.resolved_task == "classification"
    data = {
        split: _summary(Snapshot(path), classes, answer["groups"].get(split))
        for split, path in kept.items()
    }
    return Prepared(loaded, Artifact.open(known), kept, data, sources, model_hash)


def _summary(snapshot: Snapshot, classes: bool, groups: int | None) -> SplitSummary:
    index = snapshot.index
    sizes = None
    if classes and snapshot.targets is not None:
        sizes = tuple(np.unique(snapshot.targets, return_counts=True)[1].tolist())
    return SplitSummary(
        examples=index.examples,
        sha256=index.sha256,
        duplicates=index.duplicates,
        class_sizes=sizes,
        groups=groups,
    )


def _model_sha256(loaded: LoadedProject) -> str:
    model, directory = loaded.project.model, loaded.directory
    files = {key: sha256_file(directory / path) for key, path in model.files(directory).items()}
    return sha256_json({"files": files, "model": model.model_dump(mode="json")})


def _source_key(loaded: LoadedProject, model_sha256: str, sources_sha256: str) -> str:
    """Everything that shapes the model as the user brings it."""
    project = loaded.project
    return sha256_json(
        {
            "source": project.model.name,
            "model": model_sha256,
            "sources": sources_sha256,
            "inputs": [spec.model_dump(mode="json") for spec in project.inputs],
            "outputs": project.outputs,
            "libraries": library_versions(SOURCE_LIBRARIES),
            **own_identity(),
        }
    )


@functools.cache
def own_identity() -> dict[str, str]:
    """What of mlopt and Python shapes everything that is built: part of every key."""
    return {
        "mlopt": f"{mlopt.__version__} {sha256_sources(Path(mlopt.__file__).parent)}",
        "python": platform.python_version(),
    }


def _store_model(cache: Cache, key: str, model: Path, draft: Draft, loaded: LoadedProject) -> Path:
    lineage = LineageStep(
        transformation="source",
        parameters=loaded.project.model.model_dump(mode="json"),
        facts=draft.facts,
        versions=library_versions(SOURCE_LIBRARIES),
    )
    seal(model, draft, loaded.project.model.produces, (lineage,), key)
    return _move(cache, "artifacts", key, model)


def _store_snapshot(cache: Cache, directory: Path) -> Path:
    return _move(cache, "data", Snapshot(directory).index.sha256, directory)


def _move(cache: Cache, kind: str, key: str, directory: Path) -> Path:
    def fill(target: Path) -> None:
        for path in directory.iterdir():
            path.replace(target / path.name)

    return cache.get_or_build(kind, key, fill)[0]

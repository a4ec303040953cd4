"""Rank the layers of a quantized candidate in a worker, through the cache."""

from __future__ import annotations

import json
from pathlib import Path

from mlopt.errors import BuildError
from mlopt.pipeline.builder import Builder
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.prepared import Prepared, own_identity
from mlopt.pipeline.recorder import Recorder
from mlopt.search.mixed_precision import quantizer_of
from mlopt.store.cache import Cache
from mlopt.store.hashing import sha256_json
from mlopt.types.artifact import Artifact
from mlopt.workers import Limits, run_task

RANK = "mlopt.pipeline.tasks.rank:rank"

EXAMPLES = 128
"""Most examples that layers are ranked on: noise is an average over all their values."""

CHECKED = 8
"""How many of the noisiest layers are looked at alone."""

_FILE = "ranking.json"


class Ranker:
    """Ranks candidates of a run; called with a name, it is the ``rank`` of the mixed-precision walk."""

    def __init__(
        self,
        prepared: Prepared,
        builder: Builder,
        cache: Cache,
        recorder: Recorder,
        limits: Limits,
        deadline: Deadline,
    ) -> None:
        """Prepares to rank what ``builder`` builds."""
        self._prepared = prepared
        self._builder = builder
        self._cache = cache
        self._recorder = recorder
        self._limits = limits
        self._deadline = deadline

    def __call__(self, name: str) -> tuple[tuple[str, ...], ...]:
        """The layers of a candidate, the one that hurts most first: the names of its nodes.

        Args:
            name: Of a candidate of the run that was built.

        Raises:
            MloptError: It has no step that keeps nodes in float, the project has no calibration
                data, or the ranking failed.
        """
        steps = self._recorder.run.candidate(name).plan.steps
        position = quantizer_of(steps)
        if position is None:
            raise BuildError(f"no step of {name} can keep nodes in float")
        if "calibration" not in self._prepared.snapshots:
            raise BuildError(
                "layers are ranked on data.calibration, which mlopt.yaml does not name"
            )
        limits = self._deadline.limits(self._limits, self._deadline.building)
        teller = self._recorder.teller("build", f"{name}: ranking its layers", 0.0, 1.0)
        source = self._builder.build(steps[:position], lambda: limits, teller).artifact
        quantized = self._builder.build(steps[: position + 1], lambda: limits, teller).artifact

        def fill(directory: Path) -> None:
            with self._cache.workspace() as scratch:
                arguments = self._arguments(source, quantized, scratch)
                answer = run_task(RANK, arguments, limits, teller)
            (directory / _FILE).write_text(json.dumps(answer), encoding="utf-8")

        place, _ = self._cache.get_or_build("data", self._key(source, quantized), fill)
        answer = json.loads((place / _FILE).read_text(encoding="utf-8"))
        return tuple(tuple(layer["nodes"]) for layer in answer["layers"])

    def _arguments(self, source: Artifact, quantized: Artifact, scratch: Path) -> dict[str, object]:
        project = self._prepared.project
        return {
            "source": str(source.directory),
            "quantized": str(quantized.directory),
            "scratch": str(scratch),
            "project_dir": str(project.directory),
            "snapshot": str(self._prepared.snapshots["calibration"]),
            "training": project.project.training.model_dump(mode="json"),
            "examples": EXAMPLES,
            "checked": CHECKED,
        }

    def _key(self, source: Artifact, quantized: Artifact) -> str:
        """Everything that shapes the ranking."""
        return sha256_json(
            {
                "ranking": [EXAMPLES, CHECKED],
                "source": source.manifest.key,
                "quantized": quantized.manifest.key,
                "data": self._prepared.data["calibration"].sha256,
                "sources": self._prepared.sources_sha256,
                "training": self._prepared.training_sha256,
                **own_identity(),
            }
        )

"""Build candidates step by step; what two of them have in common is built once."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import ValidationError

from mlopt.errors import BuildError, MloptError, WorkerError
from mlopt.machine import read_processor
from mlopt.machine.environment import library_versions
from mlopt.passes import PASSES
from mlopt.pipeline.prepared import Prepared, own_identity
from mlopt.pipeline.seal import carry_assets, seal
from mlopt.store.cache import Cache
from mlopt.store.hashing import sha256_file, sha256_json
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.candidate import Step
from mlopt.types.passes import Draft, Pass
from mlopt.workers import Limits, run_task


class Built(NamedTuple):
    """An artifact, and how many of its steps came out of the cache."""

    artifact: Artifact
    cached_steps: int


class Turn(NamedTuple):
    """Which steps a chain builds where several are built side by side; for the others it waits.

    Attributes:
        own: Keys of the steps that no chain before it has.
        ended: Set when a step was built, or will never be.
    """

    own: frozenset[str] = frozenset()
    ended: Mapping[str, threading.Event] = MappingProxyType({})

    def wait(self, key: str) -> None:
        """Until whoever builds a step has ended."""
        if key in self.ended and key not in self.own:
            self.ended[key].wait()

    def end(self, *keys: str) -> None:
        """Lets those go on that wait for steps of this chain."""
        for key in self.own.intersection(keys):
            self.ended[key].set()


class Builder:
    """Applies passes in worker processes, through the cache."""

    def __init__(self, prepared: Prepared, cache: Cache, seed: int) -> None:
        """Prepares to build from ``prepared.source``."""
        self._prepared = prepared
        self._cache = cache
        self._seed = seed
        self._training = prepared.project.project.training
        self._failed: dict[str, MloptError] = {}

    def turns(self, chains: Sequence[tuple[Step, ...]]) -> list[Turn]:
        """Who of several chains that are built side by side builds what they share: the first.

        Args:
            chains: The steps of each, in the order in which they begin.
        """
        seen: dict[str, threading.Event] = {}
        found = []
        for steps in chains:
            own = frozenset(self._keys(steps)) - seen.keys()
            seen |= {key: threading.Event() for key in own}
            found.append(Turn(own, seen))
        return found

    def build(
        self,
        steps: tuple[Step, ...],
        limits: Callable[[], Limits],
        on_event: Callable[[str, float | None], None],
        turn: Turn = Turn(),  # noqa: B008  # immutable
    ) -> Built:
        """Applies ``steps`` to the source, one after the other.

        Args:
            steps: The chain.
            limits: Of a worker that starts now.
            on_event: Called with what is going on.
            turn: What others build at the same time.

        Raises:
            MloptError: A step failed, now or for an earlier candidate of this run.
        """
        artifact, cached = self._prepared.source, 0
        try:
            for step in steps:
                artifact, hit = self._apply(step, artifact, limits, on_event, turn)
                cached += hit
        finally:
            turn.end(*turn.own)
        return Built(artifact, cached)

    def _keys(self, steps: tuple[Step, ...]) -> list[str]:
        """Those of the artifacts that a chain makes, as far as its steps are valid."""
        before, found = self._prepared.source.manifest.key, []
        with contextlib.suppress(MloptError, ValidationError):  # told when it is built
            for step in steps:
                before = self._key(_resolved(step), before)
                found.append(before)
        return found

    def _apply(
        self,
        step: Step,
        source: Artifact,
        limits: Callable[[], Limits],
        on_event: Callable[[str, float | None], None],
        turn: Turn,
    ) -> tuple[Artifact, bool]:
        resolved = _resolved(step)
        key = self._key(resolved, source.manifest.key)
        turn.wait(key)
        if key in self._failed:
            raise self._failed[key]

        def fill(workspace: Path) -> None:
            on_event(f"{resolved.name}: starting", None)
            self._run(resolved, source, workspace, key, limits(), on_event)

        try:
            path, hit = self._cache.get_or_build("artifacts", key, fill)
        except MloptError as e:
            self._failed[key] = e
            if not isinstance(e, WorkerError):  # a killed one goes on from there
                self._cache.forget_checkpoints(key)
            raise
        turn.end(key)
        return Artifact.open(path), hit

    def _run(
        self,
        step: Pass,
        source: Artifact,
        workspace: Path,
        key: str,
        limits: Limits,
        on_event: Callable[[str, float | None], None],
    ) -> None:
        parameters = step.model_dump(mode="json")
        with self._cache.workspace() as scratch:
            answer = run_task(
                "mlopt.pipeline.tasks.build:build",
                {
                    "transformation": step.name,
                    "parameters": parameters,
                    "artifact": str(source.directory),
                    "workspace": str(workspace),
                    "scratch": str(scratch),
                    "project_dir": str(self._prepared.project.directory),
                    "snapshots": {s: str(self._snapshot(step, s)) for s in step.reads()},
                    "seed": self._seed,
                    "teacher": str(self._prepared.source.directory),
                    "checkpoints": str(self._cache.checkpoints(key)),
                    "training": self._training.model_dump(mode="json"),
                },
                limits,
                lambda message, done: on_event(f"{step.name}: {message}", done),
            )
        draft = Draft.model_validate(answer)
        lineage = LineageStep(
            transformation=step.name,
            parameters=parameters,
            facts=draft.facts,
            versions=library_versions(step.libraries),
            seed=self._seed,
        )
        carry_assets(source.directory, workspace)
        seal(workspace, draft, step.produces, (*source.manifest.lineage, lineage), key)
        self._cache.forget_checkpoints(key)

    def _key(self, step: Pass, source: str) -> str:
        """Everything that shapes what a step makes of the artifact whose key is ``source``."""
        return sha256_json(
            {
                "pass": step.name,
                "parameters": step.model_dump(mode="json"),
                "input": source,
                "pass_source": sha256_file(Path(inspect.getfile(type(step)))),
                "seed": self._seed,
                "libraries": library_versions((*step.libraries, "numpy")),
                "data": {
                    s: self._prepared.data[s].sha256
                    for s in step.reads()
                    if s in self._prepared.data
                },
                "training": self._prepared.training_sha256 if step.trains else None,
                **own_identity(),
            }
        )

    def _snapshot(self, step: Pass, split: str) -> Path:
        try:
            return self._prepared.snapshots[split]
        except KeyError:
            raise BuildError(
                f"'{step.name}' needs the split '{split}': add data.{split} to mlopt.yaml"
            ) from None


def _resolved(step: Step) -> Pass:
    """The pass with its options, those included that this machine decides."""
    kind = PASSES[step.transformation]
    return kind.model_validate(step.options).resolve(read_processor().flags)

"""The directory of one run: everything that its report is made from."""

from __future__ import annotations

import itertools
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from mlopt.errors import ConfigError, RunError
from mlopt.store.files import write_atomically
from mlopt.store.hashing import sha256_file
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.plan import PLAN_SCHEMA_VERSION, Plan
from mlopt.types.run import RUN_SCHEMA_VERSION, Run

PLAN, CANDIDATES, RUN, ADR = "plan.json", "candidates.jsonl", "run.json", "adr.md"


class RunDirectory:
    """Reads and writes the files of a run. Every write replaces a file in one step."""

    def __init__(self, path: Path) -> None:
        """Names the directory; it need not exist."""
        self.path = path

    @classmethod
    def create(cls, out: Path, project: str, now: datetime) -> RunDirectory:
        """Makes a new directory ``<project>-<utc>`` below ``out``.

        Raises:
            ConfigError: ``out`` cannot be written to.
        """
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        try:
            out.mkdir(parents=True, exist_ok=True)
            path = _make_unique(out, f"{project}-{stamp}")
            (path / ".gitignore").write_text("model/\n", encoding="utf-8")
        except OSError as e:
            raise ConfigError(
                f"cannot write the run's files to {out}: {e.strerror}. Choose another place with --out."
            ) from e
        return cls(path)

    def write_plan(self, plan: Plan) -> str:
        """Writes ``plan.json`` and returns its hash."""
        write_atomically(self.path / PLAN, plan.model_dump_json(indent=1) + "\n")
        return sha256_file(self.path / PLAN)

    def append_candidate(self, candidate: PlannedCandidate) -> None:
        """Adds a line to ``candidates.jsonl``, before anything is measured of the candidate."""
        file = self.path / CANDIDATES
        old = file.read_text(encoding="utf-8") if file.exists() else ""
        line = candidate.model_dump_json() + "\n"
        if line not in old:  # a run that is resumed has it already
            write_atomically(file, old + line)

    def write_run(self, run: Run) -> None:
        """Replaces ``run.json``."""
        write_atomically(self.path / RUN, run.model_dump_json(indent=1) + "\n")

    def write_model(self, artifact: Artifact, settings: str) -> None:
        """Replaces ``model/`` by the artifact, with ``session.json`` beside its files."""
        target = self.path / "model"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(artifact.directory, target)
        write_atomically(target / "session.json", settings)

    def read_plan(self) -> Plan:
        """Reads ``plan.json``.

        Raises:
            RunError: It is missing, damaged, or was written by a newer mlopt.
        """
        try:
            content = (self.path / PLAN).read_bytes()
            _refuse_newer(self.path / PLAN, content, PLAN_SCHEMA_VERSION)
            return Plan.model_validate_json(content)
        except (OSError, ValidationError) as e:
            raise RunError(f"{self.path} has no readable {PLAN}: {_reason(e)}") from e

    def read_run(self) -> Run:
        """Reads ``run.json``.

        Raises:
            RunError: It is missing, damaged, or was written by a newer mlopt.
        """
        file = self.path / RUN
        try:
            content = file.read_bytes()
        except OSError as e:
            raise RunError(
                f"{self.path} is not the directory of a run: it has no readable {RUN}. "
                "Give a directory that 'mlopt optimize' wrote, reports/<project>-<time>."
            ) from e
        _refuse_newer(file, content, RUN_SCHEMA_VERSION)
        try:
            return Run.model_validate_json(content)
        except ValidationError as e:
            raise RunError(
                f"{file} is damaged: {_reason(e)}. Restore it, or run 'mlopt optimize' again."
            ) from e


def _make_unique(out: Path, name: str) -> Path:
    """Makes ``out/name``, or ``name-2`` and so on where others were faster."""
    for number in itertools.count(1):
        path = out / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError("unreachable")


def _refuse_newer(file: Path, content: bytes, known: int) -> None:
    import json

    try:
        version = json.loads(content).get("schema_version")
    except (ValueError, AttributeError) as e:
        raise RunError(
            f"{file} is damaged: it is not a JSON document. Restore it, or run 'mlopt optimize' again."
        ) from e
    if isinstance(version, int) and version > known:
        raise RunError(
            f"{file} has schema version {version}; this mlopt reads up to {known}. "
            "Upgrade mlopt to read it."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}"
    return str(error)

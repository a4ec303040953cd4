"""Whether ``model/`` holds the artifact that a stored run chose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlopt.errors import RunError
from mlopt.pipeline.verdict import session_settings
from mlopt.store.hashing import sha256_file
from mlopt.types.artifact import MANIFEST, Artifact
from mlopt.types.run import CandidateResult, Run
from mlopt.types.verification import Checked, Findings, Mismatch, Unverified

MODEL, SESSION = "model", "session.json"


def check_model(run: Run, run_dir: Path) -> tuple[Findings, Artifact | None]:
    """Compares every file of the shipped model with its manifest, and its settings with the run.

    Returns:
        What was found, and the artifact; None where there is none, or a damaged one.
    """
    directory = run_dir / MODEL
    chosen = run.decision.chosen if run.decision is not None else None
    if not directory.is_dir():
        if chosen is None:
            return Findings(), None
        reason = "the shipped model is not here: git ignores model/, and a copy may lack it"
        return Findings(unverified=(Unverified(what=f"{MODEL}/", count=1, reason=reason),)), None
    if run.decision is None:
        reason = "the run ended before it was confirmed that this is the model to ship"
        return Findings(unverified=(Unverified(what=f"{MODEL}/", count=1, reason=reason),)), None
    shipped = next((c for c in run.candidates if c.name == chosen), None)
    if shipped is None:
        return Findings.of_file(f"{MODEL}/", says="a model", should=None), None
    try:
        artifact = Artifact.open(directory)
    except RunError as e:
        return Findings.of_file(
            f"{MODEL}/{MANIFEST}", says=str(e), should="the artifact's manifest"
        ), None
    return _artifact(artifact, shipped), artifact


def _artifact(artifact: Artifact, chosen: CandidateResult) -> Findings:
    """The files of the shipped artifact against its manifest, and the settings against the run."""
    own = {*artifact.manifest.files, MANIFEST, SESSION}
    strange = sorted(files_below(artifact.directory) - own)
    found = [
        *_contents(artifact),
        *((name, "a file", None) for name in strange),
        *_settings(artifact.directory / SESSION, session_settings(chosen)),
    ]
    return Findings(
        mismatches=tuple(
            Mismatch(file=f"{MODEL}/{name}", says=says, should=should, about=chosen.name)
            for name, says, should in found
        ),
        checked=Checked(files=len(own)),
    )


def _contents(artifact: Artifact) -> Iterator[tuple[str, str | None, str]]:
    """Each file that is not what the manifest says: its name, what it is and what it should be."""
    for name, entry in artifact.manifest.files.items():
        file = artifact.directory / name
        sha256 = sha256_file(file) if file.is_file() else None
        if sha256 != entry.sha256:
            says = None if sha256 is None else f"sha256 {sha256}"
            yield name, says, f"sha256 {entry.sha256}"
        elif (size := file.stat().st_size) != entry.size_bytes:
            yield MANIFEST, f"{entry.size_bytes} bytes for {name}", f"{size} bytes"


def _settings(file: Path, should: str) -> Iterator[tuple[str, str | None, str]]:
    says = file.read_text(encoding="utf-8") if file.is_file() else None
    if says != should:
        yield file.name, None if says is None else " ".join(says.split()), " ".join(should.split())


def files_below(directory: Path) -> set[str]:
    """Paths of all files below a directory, relative to it; none where it is not there."""
    return {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}

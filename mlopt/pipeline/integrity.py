"""Whether the files of a stored run are those that it was written with."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.pipeline.ledger import pointer
from mlopt.pipeline.quality import file_stem
from mlopt.pipeline.shipped import MODEL, check_model, files_below
from mlopt.store.hashing import sha256_file
from mlopt.store.rundir import ADR, CANDIDATES, PLAN, RUN
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.run import EVIDENCE_KINDS, Run
from mlopt.types.tensors import ArrayRef
from mlopt.types.verification import Checked, Findings, Mismatch, Unverified

UNREADABLE = (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile)
"""What reading an array raises that is damaged, or is another one than its name says."""

SAMPLES, PLOTS = "samples", "plots"
_OF_A_SPLIT = frozenset({"targets.npz", "members.npz"})
_OWN_FILES = frozenset({PLAN, CANDIDATES, RUN, ADR, ".gitignore"})
_OWN_FOLDERS = frozenset({MODEL, SAMPLES, PLOTS})


class Sound(NamedTuple):
    """What of a run's files may be taken as evidence.

    Attributes:
        broken: Arrays (paths) that are missing, or not those that the run names.
        shipped: The artifact in ``model/``; None where there is none, or a damaged one.
    """

    findings: Findings
    broken: frozenset[str]
    shipped: Artifact | None


def check_files(run: Run, run_dir: Path) -> Sound:
    """Compares every file of a run with the hash, shape and content that the run says it has.

    ``plan.json``, ``run.json``, ``adr.md`` and the plots are compared by their content elsewhere.
    """
    arrays, broken = _arrays(run, run_dir)
    model, shipped = check_model(run, run_dir)
    others = (_targets(run, run_dir), _candidates(run, run_dir), _strangers(run, run_dir))
    findings = arrays.plus(model)
    for one in others:
        findings = findings.plus(one)
    return Sound(findings, broken, shipped)


def references(run: Run) -> Iterator[tuple[str, str, ArrayRef]]:
    """Every array that a run refers to: the candidate, the JSON pointer and the reference."""
    for i, candidate in enumerate(run.candidates):
        document = candidate.model_dump(mode="json")
        for place, value in _references(document, ("candidates", i)):
            yield candidate.name, pointer(place), ArrayRef.model_validate(value)


def _references(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[Any, dict[str, Any]]]:
    if isinstance(value, dict) and value.keys() == ArrayRef.model_fields.keys():
        yield place, value
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        if isinstance(one, dict | list):
            yield from _references(one, (*place, key))


def _arrays(run: Run, run_dir: Path) -> tuple[Findings, frozenset[str]]:
    found: list[Mismatch] = []
    broken: set[str] = set()
    seen: set[str] = set()
    for name, place, reference in references(run):
        seen.add(reference.path)
        for field, says, should in _differences(run_dir, reference):
            broken.add(reference.path)
            found.append(
                Mismatch(
                    file=reference.path if field == "file" else RUN,
                    place="" if field == "file" else f"{place}/{field}",
                    about=name,
                    says=says,
                    should=should,
                )
            )
    return Findings(mismatches=tuple(found), checked=Checked(files=len(seen))), frozenset(broken)


def _differences(run_dir: Path, reference: ArrayRef) -> Iterator[tuple[str, str | None, str]]:
    """Field of the reference, what stands there (or None for no file) and what should."""
    file = run_dir / reference.path
    if not file.resolve().is_relative_to(run_dir.resolve()):
        yield "path", reference.path, "a file inside the run's directory"
        return
    if not file.is_file():
        yield "file", None, f"an array of shape {list(reference.shape)}, as {RUN} names it"
        return
    sha256 = sha256_file(file)
    if sha256 != reference.sha256:
        yield "sha256", reference.sha256, f"{sha256}, the hash of {reference.path}"
        return
    try:
        with np.load(file, allow_pickle=False) as arrays:
            first = arrays[arrays.files[0]]
    except UNREADABLE as e:
        yield "file", f"a damaged file ({e})", f"an array of shape {list(reference.shape)}"
        return
    if str(first.dtype) != reference.dtype:
        yield "dtype", reference.dtype, str(first.dtype)
    if first.shape != reference.shape:
        yield "shape", str(list(reference.shape)), str(list(first.shape))


def _targets(run: Run, run_dir: Path) -> Findings:
    """Whether the targets of every split that was scored are there; no hash of them is stored."""
    scored = {
        evidence.quality.split
        for candidate in run.candidates
        for evidence in candidate.evidence
        if evidence.quality is not None and evidence.quality.predictions
    }
    if run.plan.task == "feature_extraction":  # the baseline's answers take their place
        return Findings()
    found = Findings()
    for split in sorted(scored):
        path = f"{SAMPLES}/{split}/targets.npz"
        try:
            with np.load(run_dir / path, allow_pickle=False) as arrays:
                arrays["targets"]
        except FileNotFoundError:
            found = found.plus(Findings.of_file(path, says=None, should="the targets of the split"))
        except UNREADABLE as e:
            found = found.plus(
                Findings.of_file(path, says=f"a damaged file ({e})", should="the targets")
            )
    return found


def _candidates(run: Run, run_dir: Path) -> Findings:
    """``candidates.jsonl``: every candidate that was come to, as it was planned or proposed."""
    file = run_dir / CANDIDATES
    proposed = () if run.plan.refinement.is_empty else (c.plan for c in run.candidates)
    planned = {c.model_dump_json(): c for c in (*run.plan.candidates, *proposed)}
    due = [c.plan for c in run.candidates if c.status != "planned"]
    if not file.is_file():
        if not due:
            return Findings()
        return Findings.of_file(CANDIDATES, says=None, should=f"{len(due)} candidates")
    found: list[Mismatch] = []
    listed: list[PlannedCandidate] = []
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        candidate = _candidate(line)
        if candidate is not None and candidate in planned.values():
            listed.append(candidate)
            continue
        same = [text for text, c in planned.items() if candidate and c.name == candidate.name]
        should = same[0] if same else None
        found.append(Mismatch(file=CANDIDATES, place=f"line {number}", says=line, should=should))
    named = {json.loads(line).get("name") for line in lines if _candidate(line) is not None}
    for candidate in due:
        if candidate not in listed and candidate.name not in named:
            should = candidate.model_dump_json()
            found.append(
                Mismatch(file=CANDIDATES, place="", says=None, should=should, about=candidate.name)
            )
    return Findings(mismatches=tuple(found), checked=Checked(files=1, fields=len(lines)))


def _candidate(line: str) -> PlannedCandidate | None:
    try:
        return PlannedCandidate.model_validate_json(line)
    except ValueError:
        return None


def _strangers(run: Run, run_dir: Path) -> Findings:
    """Files that the run does not know; what lies beside its own folders is only named."""
    known = {reference.path for _, _, reference in references(run)}
    found: list[Mismatch] = []
    unverified: list[Unverified] = []
    for name in sorted(files_below(run_dir / SAMPLES)):
        path = Path(SAMPLES, name)
        if path.as_posix() in known:
            continue
        reason = _why_unused(path, run)
        if reason is None:
            found.append(Mismatch(file=path.as_posix(), says="a file", should=None))
        elif reason:
            unverified.append(Unverified(what=path.as_posix(), count=1, reason=reason))
    for path in sorted(run_dir.iterdir()):
        if path.name not in (_OWN_FOLDERS if path.is_dir() else _OWN_FILES):
            reason = "it is no file of a run"
            unverified.append(Unverified(what=path.name, count=1, reason=reason))
    return Findings(mismatches=tuple(found), unverified=tuple(unverified))


def _why_unused(path: Path, run: Run) -> str | None:
    """Why no reference names a file: empty where it is read all the same, None where it is strange."""
    folder = path.parent.name
    if path.name in _OF_A_SPLIT and folder in run.plan.data and run.plan.keep_predictions:
        return ""
    if ".checkpoint." in path.name:
        return None if run.status == "complete" else "what a trial had seen when the run ended"
    phase = next((k for k in EVIDENCE_KINDS if folder.startswith(k)), "confirmation")
    for i, candidate in enumerate(run.candidates):
        if not path.name.startswith(f"{file_stem(i, candidate.name)}-"):
            continue
        if candidate.plan.role == "baseline" and folder not in (phase, "holdout"):
            return ""  # a further heat: the ratios of its candidates are over these
        if candidate.failure is not None or getattr(candidate, phase) is None:
            return "its candidate fell out, or the run ended, before a number stood on it"
    return None

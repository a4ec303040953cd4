"""Whether ``adr.md`` and the plots say what the run says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from mlopt.errors import RunError
from mlopt.report.plots import draw_plots
from mlopt.report.render import PLOTS, render_adr
from mlopt.report.view import build_view
from mlopt.store.rundir import ADR
from mlopt.types.run import Run
from mlopt.types.verification import Checked, Findings, Mismatch, Unverified

SHIFT_PT = 0.05
"""What another version of matplotlib or its fonts may move a point of a plot by, in 1/72 inch."""

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_RANDOM_ID = re.compile(rb"[a-z]+[0-9a-f]{10,}")


def check_report(run: Run, run_dir: Path) -> Findings:
    """Renders the report again, in memory, and compares it with what is stored.

    Args:
        run: As it should be: with every number recomputed.
        run_dir: Directory of the run.
    """
    try:
        drawings = draw_plots(run, run_dir)
    except RunError as e:
        reason = f"it cannot be drawn again: {e}"
        stored = sorted(path.name for path in (run_dir / PLOTS).glob("*.svg"))
        gaps = tuple(Unverified(what=f"{PLOTS}/{n}", count=1, reason=reason) for n in stored)
        return _prose(run, run_dir, tuple(stored)).plus(Findings(unverified=gaps))
    return _prose(run, run_dir, tuple(drawings)).plus(_plots(drawings, run_dir / PLOTS))


def _prose(run: Run, run_dir: Path, plots: tuple[str, ...]) -> Findings:
    file = run_dir / ADR
    if not file.is_file():
        if run.status == "running":
            reason = "the run has not written its report"
            return Findings(unverified=(Unverified(what=ADR, count=1, reason=reason),))
        missing = Mismatch(file=ADR, place="", says=None, should="the report of the run")
        return Findings(mismatches=(missing,))
    should = render_adr(build_view(run, tuple(f"{PLOTS}/{name}" for name in plots)))
    says = file.read_bytes().decode("utf-8", errors="replace")
    found = tuple(differing_lines(says, should))
    return Findings(mismatches=found, checked=Checked(lines=len(should.splitlines())))


def differing_lines(says: str, should: str) -> Iterator[Mismatch]:
    """Each line of ``adr.md`` that differs, by its number in what is stored."""
    stored, rendered = says.splitlines(), should.splitlines()
    matcher = difflib.SequenceMatcher(None, stored, rendered, autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind == "equal":
            continue
        for i in range(max(end - start, last - first)):
            old = stored[start + i] if start + i < end else None
            new = rendered[first + i] if first + i < last else None
            where = f"line {start + i + 1}" if old is not None else f"after line {end}"
            yield Mismatch(file=ADR, place=where, says=old, should=new)
    if says != should and stored == rendered:
        yield Mismatch(
            file=ADR, place="", says="other ends of lines", should="lines that end in \\n"
        )


def _plots(drawings: dict[str, bytes], folder: Path) -> Findings:
    found = []
    stored = {path.name: path for path in sorted(folder.glob("*"))} if folder.is_dir() else {}
    for name in {**drawings, **stored}:
        says = stored[name].read_bytes() if name in stored and stored[name].is_file() else None
        difference = plot_difference(says, drawings.get(name))
        if difference is not None:
            old, new = difference
            found.append(Mismatch(file=f"{PLOTS}/{name}", place="", says=old, should=new))
    return Findings(mismatches=tuple(found), checked=Checked(plots=len(drawings)))


def plot_difference(
    says: bytes | None, should: bytes | None
) -> tuple[str | None, str | None] | None:
    """What a stored plot shows and what it should; None where they are the same.

    The same bytes are the same plot. Other versions of matplotlib write other bytes: then the texts
    must be equal, and every number within :data:`SHIFT_PT`.

    Args:
        says: The stored SVG.
        should: The one that was drawn again.
    """
    if says == should:
        return None
    if says is None:
        return None, "a plot"
    if should is None:
        return "a plot", None
    frames = [_NUMBER.sub(b"#", _RANDOM_ID.sub(b"id", svg)) for svg in (says, should)]
    numbers = [
        list(map(float, _NUMBER.findall(_RANDOM_ID.sub(b"id", svg)))) for svg in (says, should)
    ]
    if frames[0] != frames[1] or len(numbers[0]) != len(numbers[1]):
        return "another drawing", "the one that 'mlopt report' draws of the run"
    moved = [(a, b) for a, b in zip(*numbers, strict=True) if abs(a - b) > SHIFT_PT]
    if not moved:
        return None
    a, b = moved[0]
    return f"{a:g} ({len(moved)} of {len(numbers[0])} numbers differ)", f"{b:g}"

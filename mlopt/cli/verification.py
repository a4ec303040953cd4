"""What ``mlopt report RUN --verify`` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlopt.api._verify import Verification
    from mlopt.types.verification import Mismatch, Unverified

AROUND = 40
"""Characters of context around what differs in a long line."""

LONGEST = 110


def verification_lines(found: Verification) -> Iterator[str]:
    """What differs, what was compared and how, and what was not."""
    for one in found.mismatches:
        yield from _mismatch(one)
    if found.mismatches:
        yield ""
        count = len(found.mismatches)
        yield f"{count} mismatch{'' if count == 1 else 'es'}: the run does not say what its samples do."
    else:
        yield "Everything that was compared agrees."
    checked = found.checked
    yield (
        f"Compared: {checked.numbers:,} numbers and {checked.fields:,} other fields of run.json, "
        f"{checked.lines:,} lines of adr.md, {checked.plots} plots, {checked.files} other files. "
        f"Floats agree to {found.tolerance:g} of their size, metrics to 1e-06."
    )
    for note in found.changed:
        yield f"Changed since the run: {note}."
    if found.unverified:
        yield "Not verified:"
        yield from _unverified(found.unverified)


def _mismatch(one: Mismatch) -> Iterator[str]:
    about = f" ({one.about})" if one.about else ""
    yield " ".join(part for part in (one.file, one.place) if part) + about
    says, should = one.says, one.should
    if says is not None and should is not None:
        says, should = excerpts(says, should)
    yield f"  says:   {'nothing' if says is None else _cut(says)}"
    yield f"  should: {'not be there' if should is None else _cut(should)}"


def excerpts(says: str, should: str) -> tuple[str, str]:
    """Two texts around the place where they differ, what was left out marked by an ellipsis."""
    if max(len(says), len(should)) <= LONGEST:
        return says, should
    start = next(
        (i for i, (a, b) in enumerate(zip(says, should, strict=False)) if a != b),
        min(len(says), len(should)),
    )
    first = max(0, start - AROUND)
    mark = "…" if first else ""
    return mark + says[first:], mark + should[first:]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _unverified(gaps: tuple[Unverified, ...]) -> Iterator[str]:
    """One line for each reason."""
    by_reason: dict[str, list[Unverified]] = {}
    for gap in gaps:
        by_reason.setdefault(gap.reason, []).append(gap)
    for reason, some in by_reason.items():
        yield f"  {reason}:"
        for gap in some:
            yield f"    {gap.what}" + (f" ({gap.count})" if gap.count > 1 else "")

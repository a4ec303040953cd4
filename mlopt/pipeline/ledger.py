"""Which fields of a stored record were recomputed, and which of them differ.

Every leaf of the record ends up in one of three places: compared, given up with a reason, or
listed as something that nothing recomputes. A field that somebody adds later is in the last one
until somebody says how it follows from the evidence: none is passed over in silence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from mlopt.types.run import EVIDENCE_KINDS
from mlopt.types.verification import Checked, Findings, Mismatch, Unverified

Place = tuple[str | int, ...]

FIRST_OPTIONAL = frozenset(
    {
        "warnings", "gained", "lost", "verdicts", "rejected", "tied_with", "failure", "settles",
        "artifact_sha256", "size_bytes", "lineage", "cached_steps", "placement", "fell_back",
        "settings", "selection", "confirmation", "partial", "seconds", "decision", "finished_at",
        "low", "high", "notes",
    }
)  # fmt: skip
"""Optional fields of the first version of the records: no run is too old to have them."""

OLDER = "the run was written by an older mlopt, which did not store it"
RECORDED = "recorded as it was observed: nothing that is stored says it again"

SINGLE = 1e-6
"""Relative: what another number of threads changes of a metric that torch computes in float32."""

_PROBABILITIES = frozenset({"p_value"})
"""Fields that are compared with themselves only, however small they are."""

_TINY = 1e-300
_LONGEST = 160


class Ledger:
    """A record as it is stored, which turns into what it should be as parts are recomputed."""

    def __init__(self, file: str, stored: Any, raw: Any, relative: float) -> None:
        """Starts with nothing recomputed.

        Args:
            file: Its name, for what is found.
            stored: The record as JSON values, with every field.
            raw: The same as it stands in the file: fields that older versions lack are missing.
            relative: Largest relative difference of two floats that count as equal.
        """
        self.document = stored
        self._file = file
        self._original = json.loads(json.dumps(stored))
        self._known = set(_kinds(raw))
        self._relative = relative
        self._covered: dict[Place, str | None] = {}
        self._mismatches: list[Mismatch] = []
        self._compared: dict[Place, bool] = {}

    def expect(self, place: Place, value: Any, *, scale: float = 0.0) -> None:
        """Compares what stands at ``place`` with what should.

        Args:
            place: Keys and indices from the root.
            value: JSON values.
            scale: Size of the numbers that its floats were computed from, where that was in single
                precision: differences are compared with it.
        """
        if self._is_newer(place):
            self.give_up(place, OLDER)
            return
        self._covered[place] = None
        merged = self._reconcile(place, self.at(place), value, scale)
        self._put(place, merged)

    def give_up(self, place: Place, reason: str) -> None:
        """Notes why nothing can be said of ``place``; parts of it may still be expected."""
        self._covered[place] = reason

    def contradict(self, place: Place, says: str, should: str) -> None:
        """Notes that what stands at ``place`` cannot be."""
        self._covered[place] = None
        self._differs(place, says, should)

    def at(self, place: Place) -> Any:
        """What stands at ``place`` now."""
        found = self.document
        for key in place:
            found = found[key]
        return found

    def findings(self) -> Findings:
        """What differs, and every leaf that was not compared."""
        gaps: dict[tuple[str, str], int] = {}
        for place, _ in _leaves(self._original):
            depth = max((n for n in range(len(place) + 1) if place[:n] in self._covered), default=0)
            reason = self._covered.get(place[:depth], RECORDED)
            if reason is None:
                continue
            key = (_pattern(place[: max(depth, 1)] if reason != RECORDED else place), reason)
            gaps[key] = gaps.get(key, 0) + 1
        return Findings(
            mismatches=tuple(self._mismatches),
            unverified=tuple(
                Unverified(what=f"{self._file} {what}", count=count, reason=reason)
                for (what, reason), count in gaps.items()
            ),
            checked=Checked(
                numbers=sum(self._compared.values()),
                fields=len(self._compared) - sum(self._compared.values()),
            ),
        )

    def _put(self, place: Place, value: Any) -> None:
        if not place:
            self.document = value
        else:
            self.at(place[:-1])[place[-1]] = value

    def _reconcile(self, place: Place, says: Any, should: Any, scale: float) -> Any:
        """``should``, with what is stored where both agree."""
        if isinstance(says, dict) and isinstance(should, dict):
            return self._reconcile_fields(place, says, should, scale)
        if isinstance(says, list) and isinstance(should, list):
            return self._reconcile_items(place, says, should, scale)
        self._count(place, should)
        if self._equal(says, should, scale):
            return says
        self._differs(place, _shown(says), _shown(should))
        return should

    def _reconcile_fields(
        self, place: Place, says: dict[str, Any], should: dict[str, Any], scale: float
    ) -> dict[str, Any]:
        merged = {}
        for key in {**says, **should}:
            here = (*place, key)
            if key not in should or key not in says:
                self._count(here, says.get(key, should.get(key)))
                self._differs(
                    here,
                    _shown(says[key]) if key in says else None,
                    _shown(should[key]) if key in should else None,
                )
                if key in should:
                    merged[key] = should[key]
            elif self._is_newer(here):
                self.give_up(here, OLDER)
                merged[key] = says[key]
            else:
                own = 0.0 if key in _PROBABILITIES else scale
                merged[key] = self._reconcile(here, says[key], should[key], own)
        return merged

    def _reconcile_items(
        self, place: Place, says: list[Any], should: list[Any], scale: float
    ) -> list[Any]:
        if len(says) == len(should):
            pairs = enumerate(zip(says, should, strict=True))
            return [self._reconcile((*place, i), a, b, scale) for i, (a, b) in pairs]
        self._count(place, should)
        for i, item in enumerate(says):
            if item not in should:
                self._differs((*place, i), _shown(item), None)
        for item in should:
            if item not in says:
                self._differs(place, None, _shown(item))
        if all(item in should for item in says) and all(item in says for item in should):
            self._differs(place, f"{len(says)} entries", f"{len(should)} entries")
        return should

    def _equal(self, says: Any, should: Any, scale: float) -> bool:
        if _is_number(says) and isinstance(should, float):
            relative = max(self._relative, SINGLE if scale else 0.0)
            return math.isclose(says, should, rel_tol=relative, abs_tol=max(scale * SINGLE, _TINY))
        return type(says) is type(should) and bool(says == should)

    def _is_newer(self, place: Place) -> bool:
        """Whether a field is one that no record of its kind has in the whole file."""
        key = place[-1] if place else 0
        return (
            isinstance(key, str) and key not in FIRST_OPTIONAL and _kind(place) not in self._known
        )

    def _count(self, place: Place, value: Any) -> None:
        """Notes each leaf that was compared, and whether it is a number."""
        for inner, leaf in _leaves(value):
            self._compared[(*place, *inner)] = _is_number(leaf)

    def _differs(self, place: Place, says: str | None, should: str | None) -> None:
        self._mismatches.append(
            Mismatch(
                file=self._file,
                place=pointer(place),
                about=self._candidate(place),
                says=says,
                should=should,
            )
        )

    def _candidate(self, place: Place) -> str:
        if len(place) < 2 or place[0] != "candidates":
            return ""
        one = self._original["candidates"][place[1]]
        name = one.get("plan", one).get("name", "")
        return str(name)


def pointer(place: Place) -> str:
    """The JSON pointer (RFC 6901) of a place."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in place)


def _pattern(place: Place) -> str:
    """A place with ``*`` for each index."""
    return "/" + "/".join("*" if isinstance(key, int) else key for key in place)


def _kind(place: Place) -> str:
    """What two records of one kind have in common: the phase does not count."""
    return _pattern(tuple("selection" if key in EVIDENCE_KINDS else key for key in place))


def _kinds(value: Any, place: Place = ()) -> Iterator[str]:
    """The kind of every key of every object."""
    for key, inner in _inner(value):
        if isinstance(key, str):
            yield _kind((*place, key))
        yield from _kinds(inner, (*place, key))


def _leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every scalar, and every empty list or object, with its place."""
    parts = _inner(value)
    if not parts:
        yield place, value
    for key, inner in parts:
        yield from _leaves(inner, (*place, key))


def _inner(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"

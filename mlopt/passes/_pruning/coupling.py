"""Channels that can only be removed together, as data."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

from mlopt.types.record import Record

Side = Literal["in", "out"]
"""Which channels of a layer; a layer that acts on each channel alone has ``out`` only."""

Place = tuple[str, Side]
"""One side of one layer: its dotted name, and which of its channels."""


class Member(NamedTuple):
    """The part of a coupling that one side of one layer is.

    Attributes:
        layer: Dotted name.
        channels: Positions on this side of the layer, ascending, as the model was at first.
        roots: For each of them, the channel of the coupling that it belongs to.
        produces: Whether the layer makes these channels: a Linear or convolution, at its output.
        consumes: Whether it mixes them with all others: a Linear or convolution, at its input.
    """

    layer: str
    side: Side
    channels: tuple[int, ...]
    roots: tuple[int, ...]
    produces: bool = False
    consumes: bool = False

    def positions(self, roots: Collection[int]) -> tuple[int, ...]:
        """Positions that belong to some channels of the coupling."""
        where = _positions_by_root(self.channels, self.roots)
        return tuple(sorted(c for r in frozenset(roots) for c in where.get(r, ())))


@functools.lru_cache(maxsize=4096)
def _positions_by_root(
    channels: tuple[int, ...], roots: tuple[int, ...]
) -> Mapping[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for channel, root in zip(channels, roots, strict=True):
        found[root] = (*found.get(root, ()), channel)
    return found


class Coupling(NamedTuple):
    """Channels of several layers that one index removes together.

    Attributes:
        name: The layer that it is called after in messages.
        units: What is removed whole: one channel of the coupling, the channels of one attention
            head, of one group of a GroupNorm, ...
        attributes: Integers of modules that say how many units there are, or a multiple of it:
            by module and name, how much each unit takes away.
        heads: Whether the units are attention heads.
        norms: Layers that normalize over these channels; they are checked as if they only scaled.
    """

    name: str
    members: tuple[Member, ...]
    units: tuple[tuple[int, ...], ...]
    attributes: tuple[tuple[str, str, int], ...] = ()
    heads: bool = False
    norms: tuple[str, ...] = ()

    def block(self, multiple: int) -> int:
        """How many units go at a time, so that a multiple of channels is left; heads go singly."""
        if self.heads:
            return 1
        return multiple // math.gcd(multiple, len(self.units[0]))

    @property
    def size(self) -> int:
        """Number of channels, as the model was at first."""
        return sum(map(len, self.units))

    @property
    def producers(self) -> tuple[str, ...]:
        """Names of the layers that make these channels."""
        return tuple(m.layer for m in self.members if m.produces)


class Cut(NamedTuple):
    """Units to be removed from one coupling, by their position in ``coupling.units``."""

    coupling: Coupling
    units: tuple[int, ...]

    @property
    def roots(self) -> tuple[int, ...]:
        """The channels of the coupling that go."""
        return tuple(sorted(c for u in self.units for c in self.coupling.units[u]))


class Left(Record):
    """Layers that keep all of their channels, and why."""

    layers: tuple[str, ...]
    reason: str


def merged(cuts: Iterable[Cut]) -> list[Cut]:
    """One cut for each coupling, with the units of all of them."""
    units: dict[str, set[int]] = {}
    couplings: dict[str, Coupling] = {}
    for cut in cuts:
        units.setdefault(cut.coupling.name, set()).update(cut.units)
        couplings[cut.coupling.name] = cut.coupling
    return [Cut(couplings[name], tuple(sorted(every))) for name, every in units.items()]


def removed_positions(cuts: Iterable[Cut]) -> Mapping[Place, frozenset[int]]:
    """What cuts take from each side of each layer, in the numbering of the model at first."""
    found: dict[Place, set[int]] = {}
    for cut in cuts:
        for member in cut.coupling.members:
            if positions := member.positions(cut.roots):
                found.setdefault((member.layer, member.side), set()).update(positions)
    return {place: frozenset(positions) for place, positions in found.items()}

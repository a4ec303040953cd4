"""Which channels of a coupling must go together: those of one group of a layer that knows groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mlopt.passes._pruning.coupling import Member, Place

if TYPE_CHECKING:
    import torch


def is_depthwise(layer: torch.nn.Module) -> bool:
    """Whether each output channel of a convolution is made of one input channel."""
    groups = getattr(layer, "groups", 1)
    return bool(groups > 1 and groups == layer.out_channels)


def ties_channels(layer: torch.nn.Module) -> bool:
    """Whether a layer is one that knows groups of channels."""
    from torch import nn

    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups > 1
    return getattr(layer, "groups", 1) > 1 and not is_depthwise(layer)


class Ties:
    """Which channels must go together, as union-find."""

    def __init__(self, size: int) -> None:
        """``size`` channels, each on its own."""
        self._parent = list(range(size))

    def tie(self, layer: torch.nn.Module, pairs: list[tuple[int, int]]) -> None:
        """Ties the channels (position, root) of a layer that knows groups.

        A GroupNorm loses whole groups, which leaves the statistics of the others as they are. A
        grouped convolution loses the same position of each group, so that all stay equally wide.
        """
        from torch import nn

        if not ties_channels(layer):
            return
        first: dict[int, int] = {}
        for position, root in pairs:
            if isinstance(layer, nn.GroupNorm):
                key = position // (layer.num_channels // layer.num_groups)
            else:
                key = position % (len(pairs) // int(layer.groups))  # type: ignore[arg-type]
            self._union(first.setdefault(key, root), root)

    def units(self) -> tuple[tuple[int, ...], ...]:
        """The tied channels, in the order of their first."""
        found: dict[int, list[int]] = {}
        for channel in range(len(self._parent)):
            found.setdefault(self._find(channel), []).append(channel)
        return tuple(map(tuple, found.values()))

    def _find(self, channel: int) -> int:
        while self._parent[channel] != channel:
            channel = self._parent[channel]
        return channel

    def _union(self, one: int, other: int) -> None:
        low, high = sorted((self._find(one), self._find(other)))
        self._parent[high] = low


def groups_lost(
    layers: Sequence[torch.nn.Module],
    members: Mapping[Place, Member],
    units: tuple[tuple[int, ...], ...],
    names: Mapping[torch.nn.Module, str],
) -> Iterator[tuple[str, str, int]]:
    """How many groups of a GroupNorm go with each unit."""
    from torch import nn

    for layer in dict.fromkeys(layers):
        if isinstance(layer, nn.GroupNorm) and layer.num_groups > 1:
            positions = members[names[layer], "out"].positions(units[0])
            each = len(positions) * layer.num_groups // layer.num_channels
            yield names[layer], "num_groups", each

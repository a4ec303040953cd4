"""Channels removed from a module for good, or only ignored by the layers that read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mlopt.passes._pruning.coupling import Cut, Place, removed_positions

if TYPE_CHECKING:
    import torch


def remove(module: torch.nn.Module, cuts: Sequence[Cut], before: Sequence[Cut] = ()) -> None:
    """Removes channels from ``module``, in place.

    Args:
        module: Changed in place.
        cuts: What is to go, in the numbering of the model at first.
        before: What is gone already.
    """
    from torch_pruning.ops import module2type
    from torch_pruning.pruner.function import PrunerBox

    gone = removed_positions(before)
    for (name, side), positions in removed_positions(cuts).items():
        layer = module.get_submodule(name)
        pruner = PrunerBox[module2type(layer)]
        prune = pruner.prune_in_channels if side == "in" else pruner.prune_out_channels
        prune(layer, renumbered(positions, gone.get((name, side), frozenset())))
    for (name, attribute), lost in _attributes_lost(cuts).items():
        owner = module.get_submodule(name)
        setattr(owner, attribute, getattr(owner, attribute) - lost)


def ignore(module: torch.nn.Module, cuts: Sequence[Cut], before: Sequence[Cut] = ()) -> None:
    """Makes every layer that mixes the channels of ``cuts`` with others take no notice of them.

    What these channels hold then cannot reach the answer, whatever stands between. Arguments as
    for :func:`remove`.
    """
    import torch

    gone = removed_positions(before)
    consumers: set[Place] = {
        (m.layer, m.side) for cut in cuts for m in cut.coupling.members if m.consumes
    }
    with torch.no_grad():
        for place, positions in removed_positions(cuts).items():
            if place in consumers:
                layer = module.get_submodule(place[0])
                columns = renumbered(positions, gone.get(place, frozenset()))
                weight = layer.weight
                assert isinstance(weight, torch.nn.Parameter)
                layer.weight = torch.nn.Parameter(_without(layer, weight, columns))


def renumbered(positions: Iterable[int], gone: Iterable[int]) -> list[int]:
    """Positions in the numbering that is left when those in ``gone`` are no longer there."""
    from bisect import bisect_left

    missing = sorted(gone)
    return [p - bisect_left(missing, p) for p in sorted(positions)]


@contextlib.contextmanager
def restored(module: torch.nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Gives the submodules ``names`` back their tensors and attributes at the end."""
    kept: list[tuple[torch.nn.Module, dict[str, Any], dict[str, Any], dict[str, Any]]] = []
    for name in set(names):
        owner = module.get_submodule(name)
        kept.append((owner, dict(vars(owner)), dict(owner._parameters), dict(owner._buffers)))
    try:
        yield
    finally:
        for owner, attributes, parameters, buffers in kept:
            vars(owner).clear()
            vars(owner).update(attributes)
            owner._parameters.clear()
            owner._parameters.update(parameters)
            owner._buffers.clear()
            owner._buffers.update(buffers)


def touched(cuts: Iterable[Cut]) -> set[str]:
    """Names of the modules that :func:`remove` changes."""
    couplings = [cut.coupling for cut in cuts]
    layers = {m.layer for c in couplings for m in c.members}
    return layers | {name for c in couplings for name, _, _ in c.attributes}


def scale_only(module: torch.nn.Module, cuts: Iterable[Cut]) -> None:
    """Has the norms over these channels only scale and shift each channel.

    Their statistics mix all channels, and so differ when some are gone; everything else about
    the channels can then be compared.
    """
    for name in {norm for cut in cuts for norm in cut.coupling.norms}:
        norm = module.get_submodule(name)
        norm.forward = _Scale(norm)


class _Scale:
    """The affine part of a LayerNorm, or of a GroupNorm with one group."""

    def __init__(self, norm: torch.nn.Module) -> None:
        self._norm = norm

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        from torch import nn

        scaled = features
        for key in ("weight", "bias"):
            parameter = self._norm._parameters.get(key)
            if parameter is None:
                continue
            shape: tuple[int, ...] = (-1,)
            if isinstance(self._norm, nn.GroupNorm):  # (N, C, ...)
                shape = (-1, *[1] * (features.ndim - 2))
            each = parameter.reshape(shape)
            scaled = scaled * each if key == "weight" else scaled + each
        return scaled


def _attributes_lost(cuts: Iterable[Cut]) -> dict[tuple[str, str], int]:
    lost: dict[tuple[str, str], int] = {}
    for cut in cuts:
        for name, attribute, each in cut.coupling.attributes:
            lost[name, attribute] = lost.get((name, attribute), 0) + each * len(cut.units)
    return lost


def _without(layer: torch.nn.Module, weight: torch.Tensor, columns: Sequence[int]) -> torch.Tensor:
    """A copy of a weight that multiplies some of the inputs by zero."""
    changed = weight.detach().clone()
    if getattr(layer, "transposed", False):  # (in, out / groups, ...)
        changed[columns] = 0
        return changed
    per_group = changed.shape[1]
    if per_group == getattr(layer, "in_features", getattr(layer, "in_channels", per_group)):
        changed[:, columns] = 0
        return changed
    rows = changed.shape[0] // layer.groups  # type: ignore[operator]
    for column in columns:
        group = column // per_group
        changed[group * rows : (group + 1) * rows, column % per_group] = 0
    return changed

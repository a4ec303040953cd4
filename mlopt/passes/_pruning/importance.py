"""How much each channel matters: torch-pruning's group importances on our couplings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from mlopt.passes._pruning.coupling import Coupling, Cut, Place, removed_positions
from mlopt.passes._pruning.surgery import renumbered

if TYPE_CHECKING:
    import torch

Importance = Literal["magnitude", "taylor", "bn_scale"]


def channel_scores(
    kind: Importance, module: torch.nn.Module, couplings: Sequence[Coupling], gone: Sequence[Cut]
) -> dict[str, dict[int, float]]:
    """Scores of the channels that are left, comparable over all couplings.

    - ``magnitude``: squared L2 norm of what makes and what reads a channel (group norm, Fang et al.
      2023, DepGraph, section 3.3), over the mean of its coupling.
    - ``bn_scale``: the BatchNorm's factor (Liu et al. 2017, Network Slimming), over the mean of its
      coupling; where there is no BatchNorm, as for ``magnitude``.
    - ``taylor``: weight times gradient, absolute (Molchanov et al. 2019), summed over the coupling:
      an estimate of what the loss gains, in the loss's own unit; nothing is normalized.

    Args:
        kind: Of importance; ``taylor`` wants gradients in the parameters.
        module: Without what ``gone`` took.
        couplings: To be scored.
        gone: What is no longer there.

    Returns:
        By the coupling's name, by channel of the coupling.
    """
    from torch_pruning import importance as tp

    magnitude = tp.GroupMagnitudeImportance(p=2, normalizer="mean")
    scorers = {
        "magnitude": magnitude,
        "bn_scale": tp.BNScaleImportance(normalizer="mean"),
        "taylor": tp.GroupTaylorImportance(normalizer=None, group_reduction="sum"),
    }
    taken = removed_positions(gone)
    lost = {cut.coupling.name: set(cut.roots) for cut in gone}
    found = {}
    for coupling in couplings:
        roots = [
            r for unit in coupling.units for r in unit if r not in lost.get(coupling.name, set())
        ]
        group = _as_group(module, coupling, sorted(roots), taken)
        scores = scorers[kind](group)
        if scores is None:
            scores = magnitude(group)
        found[coupling.name] = dict(zip(sorted(roots), scores.tolist(), strict=True))
    return found


def _as_group(
    module: torch.nn.Module,
    coupling: Coupling,
    roots: Sequence[int],
    taken: Mapping[Place, frozenset[int]],
) -> list[Any]:
    """The coupling as torch-pruning's importances read a group, the channels left numbered anew."""
    from torch_pruning.ops import module2type
    from torch_pruning.pruner.function import PrunerBox

    number = {root: position for position, root in enumerate(roots)}
    group = []
    # The first member gives the number of scores, and it must have every channel once.
    order = sorted(coupling.members, key=lambda m: len(m.channels) != coupling.size)
    for member in order:
        gone = taken.get((member.layer, member.side), frozenset())
        kept = [
            (c, number[r])
            for c, r in zip(member.channels, member.roots, strict=True)
            if c not in gone and r in number
        ]
        layer = module.get_submodule(member.layer)
        pruner = PrunerBox[module2type(layer)]
        prune = pruner.prune_in_channels if member.side == "in" else pruner.prune_out_channels
        dependency = SimpleNamespace(
            layer=layer, pruning_fn=prune, handler=prune, target=SimpleNamespace(module=layer)
        )
        group.append(
            _Item(dependency, renumbered([c for c, _ in kept], gone), [r for _, r in kept])
        )
    return group


class _Item(tuple[Any, list[int]]):
    """A pair that also knows its channels of the coupling."""

    dep: Any
    idxs: list[int]
    root_idxs: list[int]

    def __new__(cls, dep: Any, idxs: list[int], root_idxs: list[int]) -> _Item:
        made = super().__new__(cls, (dep, idxs))
        made.dep, made.idxs, made.root_idxs = dep, idxs, root_idxs
        return made

"""What of a model can be pruned: every proposal tried, and a reason for what is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mlopt.frameworks.torch_module import call_module
from mlopt.passes._pruning.coupling import Coupling, Left
from mlopt.passes._pruning.equivalence import Trial, first_obstacle, sample_cut, unfelt
from mlopt.passes._pruning.graph import Found, find_couplings
from mlopt.passes._pruning.heads import Attention, find_attentions
from mlopt.passes._pruning.obstacles import REASONS

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

HEADS_HINT = (
    ". Its heads can be removed where forward computes the size of a head from the width of the "
    "projections, and joins the heads with reshape(..., -1)"
)


def find_candidates(
    trial: Trial,
    multiple: int,
    seed: int,
    unreached: Collection[str],
    say: Callable[[str, float], None],
) -> Found:
    """The couplings that a cut has been tried on with success.

    Args:
        trial: Of the whole model.
        multiple: What the channels that are left are a multiple of.
        seed: Of the cuts that are tried.
        unreached: Layers that forward does not call on any example tried.
        say: Takes a message and the share that is done.
    """
    module, inputs = trial.module, trial.batches[0]
    attentions = find_attentions(module, inputs)
    claimed = {layer for one in attentions for layer in one.layers}
    proposed = find_couplings(module, inputs, claimed)
    found = Found([], [*_fixed(module), *proposed.left])

    say("trying attention heads", 0.0)
    unsure = unfelt(trial, [one.layouts[0] for one in attentions])
    sure = [one for one in attentions if one.layouts[0].name not in unsure]
    heads = _settle_layouts(trial, sure, seed)
    for one in attentions:
        if (coupling := heads.get(one.name)) is not None:
            found.couplings.append(coupling)
            continue
        reason = REASONS["unfelt"]
        if one in sure:
            reason = f"{_try_one(trial, one.layouts[-1], seed)}{HEADS_HINT}"
        found.left.append(Left(layers=one.layers, reason=reason))

    say("trying channels", 0.5)
    promising = []
    unsure = unfelt(trial, proposed.couplings)
    for coupling in proposed.couplings:
        plain = _plain_obstacle(trial, coupling, multiple, unreached, unsure)
        if plain is None:
            promising.append(coupling)
        else:
            found.left.append(Left(layers=coupling.producers, reason=plain))
    for coupling, obstacle in _try(trial, promising, multiple, seed):
        if obstacle is None:
            found.couplings.append(coupling)
        else:
            found.left.append(Left(layers=coupling.producers, reason=obstacle))
    return found


def _try(
    trial: Trial, couplings: Sequence[Coupling], multiple: int, seed: int
) -> Iterator[tuple[Coupling, str | None]]:
    """Tries a cut of each coupling, all at once where that goes well, and else in halves."""
    if not couplings:
        return
    obstacle = first_obstacle(trial, [sample_cut(c, multiple, seed) for c in couplings])
    if obstacle is None or len(couplings) == 1:
        yield from ((c, obstacle) for c in couplings)
        return
    half = len(couplings) // 2
    yield from _try(trial, couplings[:half], multiple, seed)
    yield from _try(trial, couplings[half:], multiple, seed)


def _settle_layouts(
    trial: Trial, attentions: Sequence[Attention], seed: int
) -> dict[str, Coupling]:
    """The layout of each attention that is right, by the attention's name.

    Most attentions of a model are laid out alike: what is right for one is tried on all that are
    left, so that a dozen of them cost little more than one.
    """
    settled: dict[str, Coupling] = {}
    open_ = {one.name: one for one in attentions}
    while open_:
        first = next(iter(open_.values()))
        right = next(
            (n for n, layout in enumerate(first.layouts) if not _try_one(trial, layout, seed)), None
        )
        del open_[first.name]
        if right is None:
            continue
        settled[first.name] = first.layouts[right]
        alike = {a.name: a.layouts[right] for a in open_.values() if len(a.layouts) > right}
        names = {layout.name: name for name, layout in alike.items()}
        for layout, obstacle in _try(trial, list(alike.values()), 1, seed):
            if obstacle is None:
                settled[names[layout.name]] = layout
                del open_[names[layout.name]]
    return settled


def _try_one(trial: Trial, coupling: Coupling, seed: int) -> str | None:
    return first_obstacle(trial, [sample_cut(coupling, 1, seed)])


def unreached_layers(module: torch.nn.Module, batches: Sequence[Tensors]) -> set[str]:
    """Linear layers and convolutions that forward does not call on any of the examples."""
    import torch
    from torch import nn

    left = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    }
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: left.pop(name, None) and None)
        for name, layer in list(left.items())
    ]
    try:
        with torch.no_grad():
            for batch in batches:
                call_module(module, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return set(left)


def _plain_obstacle(
    trial: Trial,
    coupling: Coupling,
    multiple: int,
    unreached: Collection[str],
    unsure: Collection[str],
) -> str | None:
    """What makes trying a cut useless."""
    if len(coupling.units) <= coupling.block(multiple):
        return REASONS["narrow"].format(size=coupling.size, multiple=multiple)
    for name in unreached:
        if _may_touch(trial.module.get_submodule(name), coupling.size):
            return REASONS["unreached"].format(layer=name)
    return REASONS["unfelt"] if coupling.name in unsure else None


def _may_touch(layer: torch.nn.Module, channels: int) -> bool:
    """Whether a layer that is not called may be meant to read or make these channels."""
    inputs = getattr(layer, "in_features", 0) or getattr(layer, "in_channels", 0)
    outputs = getattr(layer, "out_features", 0) or getattr(layer, "out_channels", 0)
    return any(width and width % channels == 0 for width in (inputs, outputs))


def _fixed(module: torch.nn.Module) -> Iterator[Left]:
    """Layers that are never narrowed."""
    from torch import nn

    for name, layer in module.named_modules():
        if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
            reason = "a recurrent layer: all of its gates share one width, which the state has too"
            yield Left(layers=(name,), reason=reason)
        elif isinstance(layer, nn.MultiheadAttention):
            reason = (
                "the heads of nn.MultiheadAttention: it ties their width to that of its input and "
                "output. An attention with Linear layers of its own can lose heads"
            )
            yield Left(layers=(name,), reason=reason)

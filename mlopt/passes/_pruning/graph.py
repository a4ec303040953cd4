"""Which channels hang together: read from torch-pruning's dependency graph.

The graph is a proposal. It takes every operation that it does not know for one that acts on each
channel alone, so nothing that it says is believed before it is tried
(:mod:`mlopt.passes._pruning.equivalence`).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import BuildError
from mlopt.frameworks.torch_module import call_module
from mlopt.passes._pruning.coupling import Coupling, Left, Member, Side
from mlopt.passes._pruning.obstacles import (
    REASONS,
    known_obstacle,
    makers,
    makers_in,
    mixing_norms,
    shared_tensors,
    why_untraced,
)
from mlopt.passes._pruning.units import Ties, groups_lost, is_depthwise, ties_channels

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]


class Found(NamedTuple):
    """Couplings to be tried, and what cannot be."""

    couplings: list[Coupling]
    left: list[Left]


def find_couplings(
    module: torch.nn.Module, inputs: Tensors, claimed: Collection[str] = ()
) -> Found:
    """The couplings of every Linear and convolution that ``forward`` reaches.

    Args:
        module: In evaluation mode; its parameters must require gradients.
        inputs: One batch, by name.
        claimed: Layers whose outputs are dealt with elsewhere: attention heads.

    Raises:
        BuildError: The module cannot be traced.
    """
    graph = _trace(module, inputs)
    names = {child: name for name, child in module.named_modules()}
    shared = shared_tensors(module)
    found = Found([], [])
    seen: set[torch.nn.Module] = set()
    for root in list(graph.module2node):
        if root in seen or not isinstance(root, makers()) or root not in names:
            continue
        seen.add(root)
        try:
            pruner = graph.get_pruner_of_module(root)
            channels = list(range(pruner.get_out_channels(root)))
            group = graph.get_pruning_group(root, pruner.prune_out_channels, channels)
        except Exception as e:  # noqa: BLE001  # what it makes of operations it does not know
            found.left.append(Left(layers=(names[root],), reason=why_untraced(root, e, names)))
            continue
        made = makers_in(group, graph)
        seen.update(made)
        layers = tuple(sorted(names[m] for m in made if m in names)) or (names[root],)
        if set(layers) & set(claimed):
            continue
        reason = known_obstacle(module, group, graph, names, shared)
        if reason is None:
            coupling = _coupling(names[root], len(channels), group, graph, names)
            if isinstance(coupling, Coupling):
                found.couplings.append(coupling)
                continue
            reason = coupling
        found.left.append(Left(layers=layers, reason=reason))
    return found


def _trace(module: torch.nn.Module, inputs: Tensors) -> Any:
    import torch
    import torch_pruning

    graph = torch_pruning.DependencyGraph()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            graph.build_dependency(
                module,
                dict(inputs),
                forward_fn=call_module,
                output_transform=_differentiable,
                verbose=False,
            )
    except Exception as e:
        raise BuildError(
            "which channels hang together cannot be traced through forward "
            f"({type(e).__name__}: {str(e).strip()[:200]}). Pruning needs a forward that autograd can "
            "follow from the weights to an output."
        ) from e
    return graph


def _differentiable(output: Any) -> list[torch.Tensor]:
    """The tensors in what ``forward`` returned that autograd has followed."""
    import torch

    if isinstance(output, torch.Tensor):
        return [output] if output.grad_fn is not None else []
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        return [t for one in output for t in _differentiable(one)]
    return []


def _coupling(
    root: str, size: int, group: Any, graph: Any, names: Mapping[torch.nn.Module, str]
) -> Coupling | str:
    """The group as data, or why it cannot be one."""
    members: dict[tuple[str, Side], Member] = {}
    layers: list[torch.nn.Module] = []
    ties = Ties(size)
    for item in group:
        layer, positions, roots = item.dep.target.module, item.idxs, item.root_idxs
        if layer not in names:
            continue
        if None in roots:
            return REASONS["untraced"].format(error="the same channel is repeated")
        pairs = sorted(zip(positions, roots, strict=True))
        side = _side(layer, graph.is_out_channel_pruning_fn(item.dep.handler), item.dep)
        pruner = graph.get_pruner_of_module(layer)
        width = (pruner.get_in_channels if side == "in" else pruner.get_out_channels)(layer)
        if pairs[-1][0] >= width:
            return REASONS["misfit"].format(layer=names[layer])
        mixes = isinstance(layer, makers()) and not is_depthwise(layer)
        members[names[layer], side] = Member(
            layer=names[layer],
            side=side,
            channels=tuple(p for p, _ in pairs),
            roots=tuple(r for _, r in pairs),
            produces=mixes and side == "out",
            consumes=mixes and side == "in",
        )
        layers.append(layer)
        ties.tie(layer, pairs)
    if not any(m.consumes for m in members.values()):
        return REASONS["unread"]
    units = ties.units()
    if len(units) < 2:
        tying = next(names[one] for one in layers if ties_channels(one))
        return REASONS["whole"].format(layer=tying)
    attributes = tuple(groups_lost(layers, members, units, names))
    norms = tuple(dict.fromkeys(names[one] for one in mixing_norms(layers)))
    return Coupling(root, tuple(members.values()), units, attributes, norms=norms)


def _side(layer: torch.nn.Module, out: bool, dep: Any) -> Side:
    if not isinstance(layer, makers()) or is_depthwise(layer):
        return "out"
    return "out" if out and "in_channels" not in dep.handler.__name__ else "in"

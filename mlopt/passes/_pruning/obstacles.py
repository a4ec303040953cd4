"""Why layers keep their channels, as far as it is plain without trying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Names = Mapping[torch.nn.Module, str]

REASONS = {
    "output": "their channels are the model's output",
    "stream": (
        "a residual stream that {norms} normalizes over all of its channels: without some of them "
        "every other would change"
    ),
    "parameter": "a bare parameter ('{parameter}') is combined with their channels in forward",
    "recurrent": "a recurrent layer ('{layer}') reads their channels, and its width stays",
    "attention": (
        "nn.MultiheadAttention ('{layer}') reads or makes their channels, and its width stays"
    ),
    "embedding": "an embedding ('{layer}') makes their channels, and its width stays",
    "unread": (
        "their channels reach the model's output without a layer in between that could be narrowed "
        "with them"
    ),
    "misfit": (
        "forward pads, slices or repeats channels between them and '{layer}', so that these do not "
        "correspond one to one"
    ),
    "unfelt": (
        "no answer depends on their channels on the examples tried, so it cannot be checked that "
        "removing them is right"
    ),
    "narrow": "with {size} channels, none can go that leaves a multiple of {multiple}",
    "unreached": (
        "'{layer}' may read or make their channels, and forward does not reach it on the examples "
        "tried"
    ),
    "unknown": "'{layer}' ({kind}) reads or makes their channels and cannot be narrowed",
    "untraced": "torch-pruning cannot tell what hangs on them ({error})",
    "tied": "a weight of theirs is used in another place too ('{parameter}')",
    "parametrized": "the weight of '{layer}' is computed from others (a parametrization)",
    "whole": "groups of channels in '{layer}' leave no part that could be removed alone",
}


def known_obstacle(
    module: torch.nn.Module, group: Any, graph: Any, names: Names, shared: Mapping[int, str]
) -> str | None:
    """Why the members of a group keep their channels; None where only trying can tell.

    Args:
        module: The whole.
        group: Of torch-pruning.
        graph: That it is of.
        names: Of the modules.
        shared: See :func:`shared_tensors`.
    """
    from torch_pruning.ops import OPTYPE

    targets = [dep.target for dep, _ in group]
    if any(t.type == OPTYPE.OUTPUT for t in targets):
        return REASONS["output"]
    norms = mixing_norms([t.module for t in targets if t.module in names])
    streams = [t for t in targets if t.type in {OPTYPE.EMBED, OPTYPE.PARAMETER}]
    if norms and (streams or len(set(makers_in(group, graph))) > 1):
        return REASONS["stream"].format(norms=f"'{names[norms[0]]}'")
    for target in targets:
        if target.type == OPTYPE.PARAMETER:
            parameter = next((n for n, p in module.named_parameters() if p is target.module), "?")
            return REASONS["parameter"].format(parameter=parameter)
    found = (_fixed_width(t.module, names) or _odd_weight(t.module, names, shared) for t in targets)
    return next((reason for reason in found if reason is not None), None)


def _fixed_width(layer: torch.nn.Module, names: Names) -> str | None:
    from torch import nn
    from torch_pruning.ops import OPTYPE, module2type

    if layer not in names:
        return None
    kinds = {
        "recurrent": isinstance(layer, nn.RNNBase),
        "attention": isinstance(layer, nn.MultiheadAttention),
        "embedding": isinstance(layer, nn.Embedding),
        "unknown": module2type(layer) == OPTYPE.ELEMENTWISE,
    }
    kind = next((kind for kind, true in kinds.items() if true), None)
    if kind is None:
        return None
    return REASONS[kind].format(layer=names[layer], kind=type(layer).__name__)


def _odd_weight(layer: torch.nn.Module, names: Names, shared: Mapping[int, str]) -> str | None:
    if layer not in names:
        return None
    # torch.nn.utils.weight_norm has a hook write the weight before each call.
    computed = isinstance(layer, makers()) and layer._parameters.get("weight") is None
    if computed or hasattr(layer, "parametrizations"):
        return REASONS["parametrized"].format(layer=names[layer])
    own = (p for p in layer._parameters.values() if p is not None and id(p) in shared)
    tied = next(own, None)
    return None if tied is None else REASONS["tied"].format(parameter=shared[id(tied)])


def why_untraced(root: torch.nn.Module, error: Exception, names: Names) -> str:
    """Why torch-pruning cannot say what hangs on the channels of ``root``."""
    from torch import nn

    for layer, name in names.items():
        if isinstance(layer, nn.RNNBase) and layer.input_size == getattr(root, "out_features", 0):
            return REASONS["recurrent"].format(layer=name)
    return REASONS["untraced"].format(error=f"{type(error).__name__}: {error}")


def makers() -> tuple[type[torch.nn.Module], ...]:
    """Layers that make channels out of all that they are given."""
    from torch import nn

    return (nn.Linear, nn.modules.conv._ConvNd)


def makers_in(group: Any, graph: Any) -> list[torch.nn.Module]:
    """The layers of a group that make its channels."""
    return [
        dep.target.module
        for dep, _ in group
        if isinstance(dep.target.module, makers()) and graph.is_out_channel_pruning_fn(dep.handler)
    ]


def shared_tensors(module: torch.nn.Module) -> dict[int, str]:
    """Parameters that stand in two modules, by identity: a name of theirs."""
    seen: dict[int, str] = {}
    shared: dict[int, str] = {}
    for name, child in module.named_modules():
        for key, parameter in child._parameters.items():
            if parameter is not None:
                full = f"{name}.{key}" if name else key
                if id(parameter) in seen:
                    shared[id(parameter)] = seen[id(parameter)]
                seen[id(parameter)] = full
    return shared


def mixing_norms(layers: list[torch.nn.Module]) -> list[torch.nn.Module]:
    """The norms whose statistics are over all channels."""
    from torch import nn

    return [
        layer
        for layer in layers
        if isinstance(layer, nn.LayerNorm)
        or (isinstance(layer, nn.GroupNorm) and layer.num_groups == 1)
    ]

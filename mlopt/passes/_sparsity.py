"""Masks by magnitude: which weights they are for, which of them go, and what that saves zipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlopt.errors import BuildError, listing

if TYPE_CHECKING:
    import torch

_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_GROUP, _KEPT = 4, 2


class Found(NamedTuple):
    """The weights of a module that are masked: their second axis is that of the inputs.

    Attributes:
        weights: By name.
        left: ``{"layers": names, "reason": why}`` of those that are not.
    """

    weights: dict[str, torch.Tensor]
    left: list[dict[str, Any]]

    def zeros(self) -> float:
        """Share of the weights that is zero."""
        total = sum(weight.numel() for weight in self.weights.values())
        zero = sum(int((weight == 0).sum()) for weight in self.weights.values())
        return round(zero / total, 4)


def find_weights(module: torch.nn.Module, exclude: tuple[str, ...], multiple: int) -> Found:
    """The matrices and kernels of linear layers, convolutions and attentions, each once.

    Args:
        module: The model.
        exclude: Names of modules that are left as they are.
        multiple: What the number of a layer's inputs must be a multiple of.

    Raises:
        BuildError: There is none, or ``exclude`` names what is not there.
    """
    names = {name for name, _ in module.named_modules()}
    if unknown := [name for name in exclude if name not in names]:
        raise BuildError(f"'exclude' names no modules of the model: {listing(unknown)}")
    weights: dict[str, torch.Tensor] = {}
    left: dict[str, list[str]] = {}
    others = _ids_elsewhere(module)
    seen: set[int] = set()
    for name, weight in _maskable(module):
        if id(weight) in seen:
            continue
        seen.add(id(weight))
        if any(name == one or name.startswith(f"{one}.") for one in exclude):
            reason = "it is excluded"
        elif id(weight) in others:
            reason = "it shares its weights with a layer of another kind"
        elif weight.shape[1] % multiple:
            reason = f"the number of its inputs is no multiple of {multiple}"
        else:
            weights[name] = weight
            continue
        left.setdefault(reason, []).append(name)
    if not weights:
        why = "; ".join(f"{listing(layers)}: {reason}" for reason, layers in left.items())
        raise BuildError(
            "no linear layer, convolution or attention can be masked" + (f" ({why})" if why else "")
        )
    return Found(weights, [{"layers": layers, "reason": why} for why, layers in left.items()])


def mask_weights(
    weights: Mapping[str, torch.Tensor],
    how: Literal["2:4", "layer", "global"],
    share: float = 0.5,
) -> None:
    """Zeroes weights in place; among equals, those that come first.

    Args:
        weights: By name.
        how: ``2:4``, or the smallest of each layer, or of all layers together.
        share: Of the weights, where it is not ``2:4``.
    """
    import torch

    with torch.no_grad():
        if how == "2:4":
            for weight in weights.values():
                weight.masked_fill_(~kept_of_four(weight), 0)
            return
        together = [list(weights.values())] if how == "global" else [[w] for w in weights.values()]
        for layers in together:
            magnitudes = torch.cat([layer.abs().flatten() for layer in layers])
            gone = smallest(magnitudes, round(share * len(magnitudes)))
            parts = torch.split(gone, [layer.numel() for layer in layers])
            for layer, part in zip(layers, parts, strict=True):
                layer.masked_fill_(part.view(layer.shape), 0)


def kept_of_four(weight: torch.Tensor) -> torch.Tensor:
    """The larger two of each four neighbours along the second axis, whose size is a multiple of 4.

    Returns:
        A mask of the shape of ``weight``.
    """
    import torch

    last = weight.abs().movedim(1, -1)
    groups = last.reshape(*last.shape[:-1], -1, _GROUP)
    largest = groups.argsort(dim=-1, descending=True, stable=True)[..., :_KEPT]
    kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, largest, True)
    return kept.flatten(-2).movedim(-1, 1)


def smallest(magnitudes: torch.Tensor, count: int) -> torch.Tensor:
    """A mask of exactly ``count`` of the smallest elements, shape (N,)."""
    import torch

    if count == 0:
        return torch.zeros_like(magnitudes, dtype=torch.bool)
    bound = magnitudes.kthvalue(count).values
    mask = magnitudes < bound
    missing = count - int(mask.sum())
    mask[(magnitudes == bound).nonzero().flatten()[:missing]] = True
    return mask


def zipped_bytes(module: torch.nn.Module) -> int:
    """How large the weights are when they are compressed (deflate, level 1), each once."""
    import zlib

    import torch

    packer = zlib.compressobj(level=1)
    size = 0
    state = module.state_dict(keep_vars=True).values()
    for tensor in {id(t): t for t in state if isinstance(t, torch.Tensor)}.values():
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        size += len(packer.compress(raw.numpy().data))
    return size + len(packer.flush())


def _maskable(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Names and weights of all layers whose second axis is that of their inputs."""
    from torch import nn

    found = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            own: tuple[str, ...] = ("weight",)
        elif isinstance(part, nn.MultiheadAttention):
            own = _ATTENTION
        else:
            continue
        for attribute in own:
            # What is computed from other parameters is no parameter, and cannot be set.
            weight = part._parameters.get(attribute)
            if weight is not None:
                parts = (name, "" if attribute == "weight" else attribute)
                found.append((".".join(part for part in parts if part) or "the model", weight))
    return found


def _ids_elsewhere(module: torch.nn.Module) -> set[int]:
    """Of the parameters that belong to a layer of another kind too: an embedding, say."""
    maskable = {id(weight) for _, weight in _maskable(module)}
    from torch import nn

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)
    return {
        id(weight)
        for part in module.modules()
        if not isinstance(part, kinds)
        for weight in part._parameters.values()
        if weight is not None and id(weight) in maskable
    }

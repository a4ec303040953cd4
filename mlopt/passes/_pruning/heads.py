"""Attention heads: found by the widths of the layers around them, to be removed whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlopt.frameworks.torch_module import call_module
from mlopt.passes._pruning.coupling import Coupling, Member

if TYPE_CHECKING:
    import torch
    from torch import nn

    Tensors = Mapping[str, torch.Tensor]


class Attention(NamedTuple):
    """One attention, and the ways in which its heads may be laid out.

    Attributes:
        name: The module that knows the number of heads.
        layers: The projections of its queries, keys and values.
        heads: Number of heads.
        layouts: Couplings of which at most one is right; likely ones first.
    """

    name: str
    layers: tuple[str, ...]
    heads: int
    layouts: tuple[Coupling, ...]


def find_attentions(module: torch.nn.Module, inputs: Tensors) -> list[Attention]:
    """The attentions whose projections are Linear layers of a module that counts heads.

    The projections are three Linear layers of one width or one of three times that width
    (Vaswani et al. 2017, section 3.2.2); the next Linear that reads this width joins the heads.

    Args:
        module: In evaluation mode.
        inputs: One batch, by name.
    """
    calls = _linear_calls(module, inputs)
    found = []
    for name, owner in module.named_modules():
        own = [one for one in calls if _owner(module, one) == name]
        counts = _head_counts(owner)
        if not own or not counts:
            continue
        for heads in dict.fromkeys(counts.values()):
            named = [key for key, value in counts.items() if value == heads]
            if (one := _attention(module, name, named, heads, own, calls)) is not None:
                found.append(one)
                break
    return found


def _attention(
    module: torch.nn.Module,
    name: str,
    counts: Sequence[str],
    heads: int,
    own: Sequence[str],
    calls: Sequence[str],
) -> Attention | None:
    """The attention in the module ``name``, whose Linear layers ``own`` are in calling order."""
    widths = {one: _linear(module, one).out_features for one in own}
    for position, first in enumerate(own):
        three = tuple(own[position : position + 3])
        if len(three) == 3 and len({widths[one] for one in three}) == 1:
            width = widths[first]
            layers: tuple[str, ...] = three
        elif widths[first] % 3 == 0:
            width = widths[first] // 3
            layers = (first,)
        else:
            continue
        after = calls[calls.index(layers[-1]) + 1 :]
        joins = next((c for c in after if _linear(module, c).in_features == width), None)
        if joins is None or width % heads or (len(layers) == 1 and joins != after[0]):
            continue
        sides = [_members(layers, joins, heads, width, fused) for fused in _LAYOUTS[len(layers)]]
        units = tuple(
            tuple(range(h * width // heads, (h + 1) * width // heads)) for h in range(heads)
        )
        layouts = tuple(
            Coupling(layers[0], members, units, attributes, heads=True)
            for members in sides
            for attributes in _attributes(module.get_submodule(name), name, counts, heads, width)
        )
        return Attention(name, layers, heads, layouts)
    return None


_LAYOUTS = {3: ("apart",), 1: ("by projection", "by head")}


def _members(
    layers: Sequence[str], joins: str, heads: int, width: int, layout: str
) -> tuple[Member, ...]:
    """What the heads are in each layer.

    Args:
        layers: The projections.
        joins: The layer that reads the heads.
        heads: Number of heads.
        width: Channels of all heads.
        layout: ``apart``: three layers; ``by projection``: one, queries of all heads first; ``by
            head``: one, queries, keys and values of the first head first.
    """
    every = tuple(range(width))
    each = width // heads
    if layout == "apart":
        roots: tuple[int, ...] = every
    elif layout == "by projection":
        roots = every * 3
    else:
        roots = tuple(r for h in range(heads) for r in every[h * each : (h + 1) * each] * 3)
    made = (Member(one, "out", tuple(range(len(roots))), roots, produces=True) for one in layers)
    return (*made, Member(joins, "in", every, every, consumes=True))


def _attributes(
    owner: nn.Module, name: str, counts: Sequence[str], heads: int, width: int
) -> Iterator[tuple[tuple[str, str, int], ...]]:
    """Which integers of the module may have to follow the number of heads."""
    certain = tuple((name, key, 1) for key in counts)
    wide = [k for k, v in vars(owner).items() if type(v) is int and v == width and k not in counts]
    each = width // heads
    yield certain
    if wide:
        yield (*certain, *((name, key, each) for key in wide))
    if len(wide) > 1:
        for key in wide:
            yield (*certain, (name, key, each))


def _head_counts(owner: nn.Module) -> dict[str, int]:
    """The integers of a module whose name says that they count heads."""
    from torch import nn

    if isinstance(owner, nn.MultiheadAttention):
        return {}
    return {
        key: value
        for key, value in vars(owner).items()
        if type(value) is int and value > 1 and "head" in key.lower() and not _is_size(key.lower())
    }


def _is_size(key: str) -> bool:
    return any(part in key for part in ("dim", "size", "width", "channels", "per_head"))


def _owner(module: torch.nn.Module, linear: str) -> str | None:
    """The nearest module around a Linear that counts heads."""
    name = linear
    while name:
        name = name.rpartition(".")[0]
        if _head_counts(module.get_submodule(name)):
            return name
    return None


def _linear(module: torch.nn.Module, name: str) -> nn.Linear:
    from torch import nn

    found = module.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


def _linear_calls(module: torch.nn.Module, inputs: Tensors) -> list[str]:
    """Names of the Linear layers in the order in which ``forward`` first calls them."""
    import torch
    from torch import nn

    calls: list[str] = []
    hooks = [
        child.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, child in module.named_modules()
        if isinstance(child, nn.Linear)
    ]
    try:
        with torch.no_grad():
            call_module(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(calls))

"""What a model costs without some channels, computed and not counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlopt.frameworks.cost import Cost, count_cost
from mlopt.frameworks.torch_module import call_module
from mlopt.passes._pruning.coupling import Coupling, Cut, Place, removed_positions

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]


class LayerCost(NamedTuple):
    """A layer of the whole model.

    Attributes:
        weights: Parameters that have both an input and an output channel.
        others: Parameters that have an output channel only.
        macs: Of one example.
        inputs: Number of channels on its side ``in``; 0 where it has no such side.
        outputs: Number of channels on its side ``out``.
    """

    weights: int
    others: int
    macs: int
    inputs: int
    outputs: int


class CostModel:
    """The cost after any cuts, from that of every layer of the whole model."""

    def __init__(
        self, module: torch.nn.Module, inputs: Tensors, couplings: Sequence[Coupling]
    ) -> None:
        """Measures the whole model.

        Args:
            module: As it was at first, in evaluation mode.
            inputs: A batch, by name.
            couplings: That cuts may be made of.
        """
        self.whole = count_cost(module, inputs)
        names = {m.layer for c in couplings for m in c.members}
        macs = _layer_macs(module, inputs, names)
        self._layers = {
            name: _layer_cost(module.get_submodule(name), macs.get(name, 0)) for name in names
        }
        # What is not in a layer is attention itself, as far as there is any: queries with keys,
        # and these with values.
        self._heads = sum(len(c.units) for c in couplings if c.heads)
        every = _layer_macs(module, inputs, {n for n, _ in module.named_modules()})
        self._between = max(0, self.whole.macs - sum(every.values())) if self._heads else 0

    def after(self, cuts: Sequence[Cut]) -> Balance:
        """The cost without ``cuts``, to go on from."""
        balance = Balance(self.whole, self._layers, self._between / max(1, self._heads))
        for cut in cuts:
            balance.take(cut)
        return balance


class Balance:
    """A cost that follows what is taken and given back, one cut at a time."""

    def __init__(self, whole: Cost, layers: Mapping[str, LayerCost], macs_of_head: float) -> None:
        """The cost of the whole model.

        Args:
            whole: That cost.
            layers: Of the layers that cuts may change.
            macs_of_head: What each head adds beside its layers.
        """
        self._layers = layers
        self._macs_of_head = macs_of_head
        self._lost: dict[Place, int] = {}
        self._parameters, self._macs = float(whole.parameters), float(whole.macs)

    @property
    def cost(self) -> Cost:
        """What the model costs now."""
        return Cost(parameters=round(self._parameters), macs=round(self._macs))

    def take(self, cut: Cut) -> None:
        """Removes what ``cut`` names."""
        self._change(cut, 1)

    def give_back(self, cut: Cut) -> None:
        """Undoes :meth:`take`."""
        self._change(cut, -1)

    def _change(self, cut: Cut, sign: int) -> None:
        layers = {member.layer for member in cut.coupling.members}
        self._add(layers, -1)
        for (layer, side), positions in removed_positions([cut]).items():
            lost = self._lost.get((layer, side), 0)
            self._lost[layer, side] = lost + sign * len(positions)
        self._add(layers, 1)
        if cut.coupling.heads:
            self._macs -= sign * len(cut.units) * self._macs_of_head

    def _add(self, layers: Iterable[str], sign: int) -> None:
        for name in layers:
            layer = self._layers[name]
            out = 1 - self._lost.get((name, "out"), 0) / layer.outputs
            both = out
            if layer.inputs:
                both *= 1 - self._lost.get((name, "in"), 0) / layer.inputs
            self._parameters += sign * (layer.weights * both + layer.others * out)
            self._macs += sign * layer.macs * both


def _layer_cost(layer: torch.nn.Module, macs: int) -> LayerCost:
    from torch_pruning.ops import module2type
    from torch_pruning.pruner.function import PrunerBox

    pruner = PrunerBox[module2type(layer)]
    two_sided = pruner.prune_in_channels != pruner.prune_out_channels
    every = sum(p.numel() for p in layer._parameters.values() if p is not None)
    weight = layer._parameters.get("weight")
    weights = weight.numel() if two_sided and weight is not None else 0
    inputs = pruner.get_in_channels(layer) if two_sided else 0
    outputs = pruner.get_out_channels(layer) or 1
    return LayerCost(weights, every - weights, macs, inputs, outputs)


def _layer_macs(module: torch.nn.Module, inputs: Tensors, names: set[str]) -> dict[str, int]:
    """MACs of one example in each Linear and convolution: their mean over the batch."""
    import torch
    from torch import nn

    found: dict[str, int] = {}

    def note(name: str, layer: torch.nn.Module, given: torch.Tensor, made: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        if isinstance(layer, nn.Linear):
            places = made.numel() // layer.out_features
        else:
            assert isinstance(layer, nn.modules.conv._ConvNd)
            full = given if layer.transposed else made
            channels = layer.in_channels if layer.transposed else layer.out_channels
            places = full.numel() // channels
        found[name] = found.get(name, 0) + weight.numel() * places

    hooks = [
        layer.register_forward_hook(
            lambda layer, given, made, name=name: note(name, layer, given[0], made)
        )
        for name, layer in module.named_modules()
        if name in names and isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)
    ]
    try:
        with torch.no_grad():
            call_module(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    examples = len(next(iter(inputs.values())))
    return {name: macs // examples for name, macs in found.items()}

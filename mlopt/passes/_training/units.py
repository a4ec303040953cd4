"""A regression learns in standard units, whatever its targets are measured in.

A learning rate says how far a weight moves in a step. A last layer that has to reach 150 mmHg, and
may err by 40, would take thousands of steps; one that has to reach 0 and may err by 1 takes a few.
So the targets are standardised, and the last layer with them: the model stays the same function,
read in other units, and is put back at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mlopt.passes._training.forward import Respondent
from mlopt.passes._training.material import Material

if TYPE_CHECKING:
    import torch

PROBE = 2
"""Examples that show where an answer comes from."""


class Units(NamedTuple):
    """Where zero is and how long one is, for each output of a layer or for all of them.

    Attributes:
        layer: The linear layer whose output is the model's answer.
        mean: Of the targets, shape (K,) or (1,).
        scale: Their standard deviation, of the same shape, rounded to a power of two, by which
            weights are multiplied without an error.
    """

    layer: torch.nn.Linear
    mean: torch.Tensor
    scale: torch.Tensor

    def enter(self) -> None:
        """From here on the layer gives standard units."""
        import torch

        with torch.no_grad():
            self.layer.weight.div_(self.scale[:, None])
            self.layer.bias.sub_(self.mean).div_(self.scale)

    def leave(self) -> None:
        """From here on the layer gives what it gave before :meth:`enter`."""
        import torch

        with torch.no_grad():
            self.layer.weight.mul_(self.scale[:, None])
            self.layer.bias.mul_(self.scale).add_(self.mean)

    def standard(self, values: torch.Tensor) -> torch.Tensor:
        """Values in standard units, shape (N, ...)."""
        rows = values.reshape(len(values), -1)
        return ((rows - self.mean) / self.scale).reshape(values.shape)

    def own(self, values: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`standard`."""
        rows = values.reshape(len(values), -1)
        return (rows * self.scale + self.mean).reshape(values.shape)


def units_of(respondent: Respondent, material: Material, targets: torch.Tensor) -> Units | None:
    """The units of a regression; None where no linear layer gives the answer.

    Args:
        respondent: Whose.
        material: What it answers to.
        targets: To be standardised by, shape (N, ...).
    """
    import torch

    layer = _last_layer(respondent, material)
    if layer is None:
        return None
    rows = targets.double().reshape(len(targets), -1)
    if rows.shape[1] != layer.out_features:
        rows = rows.reshape(-1, 1)  # one layer for all outputs: one unit for all
    deviation = rows.std(dim=0, correction=0)
    scale = torch.where(deviation > 0, torch.exp2(deviation.log2().round()), 1.0)
    kind = layer.weight.dtype
    return Units(layer, rows.mean(dim=0).to(kind), scale.to(kind))


def _last_layer(respondent: Respondent, material: Material) -> torch.nn.Linear | None:
    """The linear layer whose output is, with nothing done to it but reshaping, the first output."""
    import torch

    given: list[tuple[torch.nn.Linear, torch.Tensor, int]] = []

    def note(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        assert isinstance(layer, torch.nn.Linear)
        given.append((layer, output, output._version))

    module = respondent.module
    layers = [m for m in module.modules() if type(m) is torch.nn.Linear]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        answer = next(respondent.answers(material, material.parts.training[:PROBE], PROBE))
    finally:
        for hook in hooks:
            hook.remove()
    place = answer.untyped_storage().data_ptr()
    found = [g for g in given if g[1].untyped_storage().data_ptr() == place]
    if len(found) != 1:
        return None
    layer, output, version = found[0]
    changed = output._version != version
    moved = not answer.is_contiguous() or answer.storage_offset() != output.storage_offset()
    return (
        layer
        if not changed and not moved and _is_alone(layer, module, [g[0] for g in given])
        else None
    )


def _is_alone(
    layer: torch.nn.Linear, module: torch.nn.Module, called: list[torch.nn.Linear]
) -> bool:
    """Whether its weights are trained, and used nowhere else."""
    uses = [p for _, p in module.named_parameters(remove_duplicate=False) if p is layer.weight]
    biased = layer.bias is not None and layer.bias.requires_grad
    return biased and layer.weight.requires_grad and len(uses) == 1 and called.count(layer) == 1

"""What one inference costs: parameters and multiply-accumulate operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mlopt.frameworks.torch_module import call_module

if TYPE_CHECKING:
    import torch


class Cost(NamedTuple):
    """Size of a model, independent of the machine.

    Attributes:
        macs: Multiply-accumulate operations of one example, in convolutions, matrix products and
            attention; a BatchNorm or an activation counts as nothing.
    """

    parameters: int
    macs: int


def count_cost(module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> Cost:
    """Counts a module's parameters, and the MACs of the first example.

    Half of the operations that ``torch.utils.flop_counter`` counts. Parameters that are shared
    count once.

    Args:
        module: In evaluation mode.
        inputs: By name, the batch axis first.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    one = {name: tensor[:1] for name, tensor in inputs.items()}
    counter = FlopCounterMode(display=False)
    # Without the fused forms of attention and of recurrent layers, which nobody counts.
    plain = torch.backends.mkldnn.flags(enabled=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), plain, counter:
        call_module(module, one)
    parameters = sum(p.numel() for p in module.parameters())
    return Cost(parameters=parameters, macs=counter.get_total_flops() // 2)

"""What one inference costs: parameters and multiply-accumulate operations."""

from __future__ import annotations

import warnings
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
    """Counts a module's parameters, and the MACs of one example: their mean over the batch.

    Half of the operations that ``torch.utils.flop_counter`` counts. Parameters that are shared
    count once.

    Args:
        module: In evaluation mode.
        inputs: By name, the batch axis first; a small batch will do.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # Without the fused forms of attention, encoders and recurrent layers, which nobody counts.
    fused_encoders = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of GPUs that nobody asked for
        plain = torch.backends.mkldnn.flags(enabled=False)
        try:
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), plain, counter:
                call_module(module, inputs)
        finally:
            torch.backends.mha.set_fastpath_enabled(fused_encoders)
    parameters = sum(p.numel() for p in module.parameters())
    examples = len(next(iter(inputs.values())))
    return Cost(parameters=parameters, macs=counter.get_total_flops() // 2 // examples)

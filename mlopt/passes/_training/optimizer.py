"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlopt.errors import BuildError
from mlopt.passes._training.options import TrainingOptions

if TYPE_CHECKING:
    import torch

MOMENTUM = 0.9


def make_optimizer(module: torch.nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, 2019), or SGD with Nesterov's momentum.

    Parameters that do not require gradients are left alone. Weight decay acts on what multiplies
    features: matrices and kernels, not biases or the scales of a normalisation.

    Raises:
        BuildError: No parameter requires gradients.
    """
    import torch

    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise BuildError(
            "the model has no parameter that can be trained: all have requires_grad=False"
        )
    groups = [
        {
            "params": [p for p in trained if p.ndim > 1],
            "weight_decay": options.weight_decay,
        },
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=0.0)


def rate_factor(step: int, steps: int, options: TrainingOptions) -> float:
    """The share of the learning rate at a step.

    For ``cosine``: a linear rise, then half a cosine down to 0 (Loshchilov & Hutter, SGDR, 2017).

    Args:
        step: From 0.
        steps: Of the whole training.
        options: Name the schedule and the share of the rise.
    """
    if options.schedule == "constant":
        return 1.0
    rise = round(options.warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

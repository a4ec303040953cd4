"""Gradients of the training loss, for the Taylor importance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlopt.errors import BuildError
from mlopt.passes._training.carve import Parts
from mlopt.passes._training.forward import Respondent
from mlopt.passes._training.losses import Objective
from mlopt.passes._training.material import Material, in_order
from mlopt.types.passes import PassContext

if TYPE_CHECKING:
    import torch

EXAMPLES = 512
"""Most that are asked for their gradients, evenly spaced over the training split."""

BATCH = 8
"""Small, so that the gradients of examples that are well known do not cancel each other."""


def leave_gradients(
    module: torch.nn.Module,
    outputs: tuple[str, ...],
    fixed_batch: int | None,
    context: PassContext,
) -> None:
    """Puts the mean absolute gradient of the loss over small batches into each parameter's ``grad``.

    Near a minimum the gradients of the whole split cancel, so their sign is dropped batch by batch,
    as Molchanov et al. (2019) square theirs. In evaluation mode.

    Args:
        module: Whose parameters get a ``grad``.
        outputs: Names of its outputs.
        fixed_batch: The batch size that it insists on; None when it is dynamic.
        context: Gives the training split and the task.

    Raises:
        BuildError: The training split has no targets, or forward raises.
    """
    import numpy as np
    import torch

    arrays, task = context.arrays("training"), context.training.task
    count = len(arrays.hashes)
    rows = np.unique(np.linspace(0, count - 1, min(EXAMPLES, count)).astype(np.int64))
    material = Material(arrays, Parts(rows, rows[:0]), task)
    if material.targets(rows[:1]) is None:
        raise BuildError(
            "the importance 'taylor' needs the loss, and the training split has no targets for it. "
            "Take 'magnitude', which needs no data."
        )
    student = Respondent(module, outputs, task, fixed_batch, context.project_dir)
    objective = Objective(task, alpha=0.0, temperature=1.0, smoothing=0.0, scale=material.scale())
    parameters = [p for p in module.parameters() if p.is_floating_point()]
    frozen = [p for p in parameters if not p.requires_grad]
    totals = [torch.zeros_like(p) for p in parameters]
    batches = [b for b in in_order(rows, fixed_batch or BATCH) if fixed_batch in {None, len(b)}]
    try:
        for parameter in frozen:  # what is not trained can be removed all the same
            parameter.requires_grad_(True)
        with torch.enable_grad():
            for batch in batches:
                answer = student.answer(material.inputs(batch))
                loss = objective.loss(answer, material.targets(batch), None)
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
                for total, gradient in zip(totals, found, strict=True):
                    if gradient is not None:
                        total.add_(gradient.abs())
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    for parameter, total in zip(parameters, totals, strict=True):
        parameter.grad = total / max(1, len(batches))

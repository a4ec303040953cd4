"""What is trained of a model's outputs: the same that is scored, as tensors with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlopt.errors import BuildError
from mlopt.types.task import ATTENTION_MASK, NO_TOKEN, Task

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]


def answer_of(task: Task, outputs: Tensors, inputs: Tensors) -> torch.Tensor:
    """What is scored of a batch, in single precision or better.

    Args:
        task: What the model is asked for.
        outputs: By name, in the model's order.
        inputs: Of the same examples.

    Returns:
        The first output, shape (N, ...). For question answering the first two, shape (N, 2, T),
        without padding; for feature extraction from tokens their mean without padding, (N, D).

    Raises:
        BuildError: There are not the outputs that the task needs.
    """
    import torch

    found = [o if o.dtype == torch.float64 else o.float() for o in list(outputs.values())[:2]]
    mask = inputs.get(ATTENTION_MASK)
    if mask is not None and mask.shape != found[0].shape[:2]:
        mask = None
    if task == "question_answering":
        if len(found) < 2 or found[0].shape != found[1].shape:
            raise BuildError(
                "question answering trains two outputs of one shape, the logits of the answer's "
                f"first and last token, and the model gives {', '.join(outputs)}"
            )
        spans = torch.stack(found, dim=1)
        return spans if mask is None else spans.masked_fill(mask[:, None] == 0, NO_TOKEN)
    if task == "feature_extraction" and found[0].ndim == 3:
        weights = torch.ones_like(found[0][:, :, 0]) if mask is None else (mask != 0).to(found[0])
        total = (found[0] * weights[:, :, None]).sum(dim=1)
        return total / weights.sum(dim=1, keepdim=True).clamp(min=1)
    return found[0]

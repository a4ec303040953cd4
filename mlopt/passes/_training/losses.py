"""What training makes small, by task: labels, a teacher's answers, or both.

All take what is scored of a model's outputs (:func:`mlopt.passes._training.answers.answer_of`) and
return the mean over the examples, or over the tokens that count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mlopt.types.task import IGNORED, NO_TOKEN, Task

if TYPE_CHECKING:
    import torch


class Objective(NamedTuple):
    """``alpha`` times the loss against the teacher, and the rest against the targets.

    Attributes:
        alpha: 0 without a teacher, 1 without targets.
        temperature: Divides the logits of both before they are compared.
        smoothing: Label smoothing of the loss against the targets.
        scale: What one unit of a regression's output is, broadcast over the examples: its standard
            deviation. Losses, and with them learning rates, then mean the same in any unit.
    """

    task: Task
    alpha: float
    temperature: float
    smoothing: float
    scale: torch.Tensor

    def loss(
        self,
        outputs: torch.Tensor,
        targets: torch.Tensor | None,
        taught: torch.Tensor | None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss of a batch.

        Args:
            outputs: Of the student, shape (N, ...).
            targets: Shape (N, ...); needed where ``alpha`` is below 1.
            taught: Outputs of the teacher, of the student's shape; needed where ``alpha`` is above
                0.
            mask: 0 where a text is padded, shape (N, T); says which tokens count where no targets
                do.
        """
        total = outputs.new_zeros(())
        if taught is not None and self.alpha > 0:
            kept = None
            if self.task == "token_classification":
                kept = tokens_that_count(outputs, targets, mask)
            total = total + self.alpha * self._against_teacher(outputs, taught, kept)
        if targets is not None and self.alpha < 1:
            total = total + (1 - self.alpha) * self._against_targets(outputs, targets)
        return total

    def _against_teacher(
        self, outputs: torch.Tensor, taught: torch.Tensor, kept: torch.Tensor | None
    ) -> torch.Tensor:
        if self.task in {"regression", "feature_extraction"}:
            return standardised_error(outputs, taught, self.scale)
        if kept is not None:
            outputs, taught = outputs[kept], taught[kept]
        if is_single_logit(self.task, outputs):
            return softened_bernoulli_divergence(outputs, taught, self.temperature)
        return softened_divergence(outputs, taught, self.temperature)

    def _against_targets(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.task == "regression":
            return standardised_error(outputs, targets, self.scale)
        if is_single_logit(self.task, outputs):
            return binary_cross_entropy(outputs, targets, self.smoothing)
        return cross_entropy(outputs, targets, self.smoothing)


def tokens_that_count(
    outputs: torch.Tensor, targets: torch.Tensor | None, mask: torch.Tensor | None
) -> torch.Tensor | None:
    """Those with a label; without labels, those that are no padding; None where all count.

    Args:
        outputs: Logits, shape (N, T, C).
        targets: Labels, shape (N, T).
        mask: 0 where a text is padded, shape (N, T); of another shape, it is about other tokens.

    Returns:
        Whether each counts, shape (N, T).
    """
    if targets is not None:
        return targets != IGNORED
    if mask is None or mask.shape != outputs.shape[:2]:
        return None
    return mask != 0


def is_single_logit(task: Task, outputs: torch.Tensor) -> bool:
    """Whether a classifier has one logit, that of class 1: shape (N,) or (N, 1)."""
    return task == "classification" and (outputs.ndim == 1 or outputs.shape[-1] == 1)


def softened_divergence(
    outputs: torch.Tensor, taught: torch.Tensor, temperature: float
) -> torch.Tensor:
    """T^2 KL(teacher || student) of the softmax at temperature T over the last axis.

    Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network (2015), section 2: the
    factor keeps the gradients as large as those of the labels, whatever T is.

    Args:
        outputs: Logits, shape (..., C).
        taught: The teacher's, of the same shape.
        temperature: Above 0.
    """
    from torch.nn import functional

    divergence = functional.kl_div(
        functional.log_softmax(outputs / temperature, dim=-1),
        functional.log_softmax(taught / temperature, dim=-1),
        reduction="sum",
        log_target=True,
    )
    return divergence * temperature**2 / max(1, outputs[..., 0].numel())


def softened_bernoulli_divergence(
    outputs: torch.Tensor, taught: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The same for a single logit: two classes, of which one has the logit 0.

    Args:
        outputs: Logits of class 1, shape (N,) or (N, 1).
        taught: The teacher's.
        temperature: Above 0.
    """
    import torch

    ours, theirs = (torch.stack([torch.zeros_like(z), z], -1) for z in (outputs, taught))
    return softened_divergence(ours, theirs, temperature)


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy over the last axis; the mean over the labels that are not ignored.

    Args:
        outputs: Logits, shape (..., C): (N, C), (N, T, C) or, for the two ends of an answer,
            (N, 2, T).
        targets: Labels, shape (...).
        smoothing: Share of the label's weight that goes to all classes alike, padding left out: its
            probability is 0, and the logarithm of that would be all of the loss.
    """
    from torch.nn import functional

    rows, labels = outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1)
    kept = labels != IGNORED
    total = functional.cross_entropy(rows, labels, ignore_index=IGNORED, reduction="sum")
    if smoothing > 0:
        possible = rows > NO_TOKEN / 2
        logarithms = functional.log_softmax(rows, dim=-1).masked_fill(~possible, 0)
        even = -logarithms.sum(dim=-1) / possible.sum(dim=-1).clamp(min=1)
        total = (1 - smoothing) * total + smoothing * even[kept].sum()
    return total / kept.sum().clamp(min=1)


def binary_cross_entropy(
    outputs: torch.Tensor, targets: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Cross-entropy of a single logit.

    Args:
        outputs: Logits of class 1, shape (N,) or (N, 1).
        targets: 0 or 1, shape (N,) or (N, 1).
        smoothing: As in :func:`cross_entropy`, over the two classes.
    """
    from torch.nn import functional

    wanted = targets.reshape(outputs.shape).to(outputs.dtype)
    wanted = wanted * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(outputs, wanted)


def standardised_error(
    outputs: torch.Tensor, targets: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Mean squared error in units of ``scale``.

    Args:
        outputs: Shape (N, ...).
        targets: As many values.
        scale: Broadcasts against the targets.
    """
    error = (outputs.reshape(targets.shape) - targets.to(outputs.dtype)) / scale.to(outputs.dtype)
    return (error**2).mean()

"""Whether what a model answers can be compared with what it should answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlopt.errors import BuildError
from mlopt.passes._training.losses import is_single_logit
from mlopt.types.task import IGNORED, Task

if TYPE_CHECKING:
    import torch

NEEDS: dict[Task, str] = {
    "classification": "[classes], or [] or [1] where there are two",
    "token_classification": "[tokens, classes]",
    "question_answering": "[tokens] twice",
}


def check_fit(task: Task, answers: torch.Tensor, targets: torch.Tensor) -> None:
    """Refuses targets that are none for these answers.

    Args:
        task: What the model is asked for.
        answers: To a few examples, shape (n, ...).
        targets: Of the whole split, shape (N, ...).

    Raises:
        BuildError: Shapes do not fit, or a label is none of the classes.
    """
    each, wanted = list(answers.shape[1:]), list(targets.shape[1:])
    if task == "regression":
        if answers[0].numel() != targets[0].numel():
            raise BuildError(
                f"the model gives {each} for each example and data.training has targets of {wanted}: "
                "a regression has one target for each output"
            )
        return
    single = is_single_logit(task, answers)
    classes, rows = (2, []) if single else (answers.shape[-1], each[:-1])
    one = task == "classification" and not rows and targets[0].numel() == 1
    if not one and (task == "classification" or wanted != rows):
        raise BuildError(
            f"the model gives {each} for each example and data.training has targets of {wanted}: "
            f"{task.replace('_', ' ')} has one label for each row of logits, {NEEDS[task]}"
        )
    counted = targets[targets != IGNORED]
    if counted.numel() and not 0 <= int(counted.min()) <= int(counted.max()) < classes:
        raise BuildError(
            f"data.training has labels from {int(counted.min())} to {int(counted.max())}, and the "
            f"model knows 0 to {classes - 1}"
        )


def check_answers_agree(student: torch.Tensor, teacher: torch.Tensor) -> None:
    """Refuses a student that answers in another shape than its teacher.

    Raises:
        BuildError: They differ.
    """
    if student.shape != teacher.shape:
        raise BuildError(
            f"the student answers with {list(student.shape[1:])} for each example and its teacher "
            f"with {list(teacher.shape[1:])}: a student has the outputs of its teacher"
        )

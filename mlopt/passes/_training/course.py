"""What a module is taught: the loss of a training batch, and how it fares on the validation part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import BuildError
from mlopt.passes._training.carve import Parts, carve
from mlopt.passes._training.fit import check_answers_agree, check_fit
from mlopt.passes._training.forward import Respondent, copied
from mlopt.passes._training.history import finite
from mlopt.passes._training.losses import Objective
from mlopt.passes._training.material import Augmentation, Material, batches_of, shuffled
from mlopt.passes._training.options import TrainingOptions
from mlopt.passes._training.teacher import CACHE_BYTES, Lessons, Teacher
from mlopt.passes._training.units import Units, units_of
from mlopt.passes._training.variations import Variations
from mlopt.store.hashing import sha256_json
from mlopt.types.passes import PassContext
from mlopt.types.task import Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]

PROBE = 2
"""Examples that are enough to see whether outputs and targets fit each other."""


class Validation(NamedTuple):
    """How a module fares on the validation part; None for what is not there or not finite."""

    loss: float | None
    score: float | None


class Course:
    """A module, its material and its objective.

    Attributes:
        material: The training split, in two parts.
        steps: Batches in an epoch.
        units: That the module is to answer in while it learns; None: its own.
    """

    def __init__(
        self,
        student: Respondent,
        teacher: Teacher | None,
        context: PassContext,
        options: TrainingOptions,
        say: Callable[[str], None],
    ) -> None:
        """Sets the validation part aside, asks the teacher, and checks that all fits.

        Raises:
            BuildError: It does not; the message says what.
        """
        import torch

        arrays = context.arrays("training")
        parts = carve(arrays.hashes, arrays.targets, options.validation_fraction, context.seed)
        self.material = Material(arrays, parts, student.task)
        self._student = student
        self._score = context.score
        self._size = student.fixed_batch or options.batch_size
        self.steps = len(self._cut(parts.training))
        if self.steps == 0:
            raise BuildError(
                _no_batch(
                    parts, student.fixed_batch or self._least, student.fixed_batch, self._size
                )
            )
        reference = context.training.augment
        self._augment = None if reference is None else Augmentation(reference, context.project_dir)
        self._lessons = None if teacher is None else self._ask(teacher, context, options, say)
        self._variations = None if teacher is None else self._vary(teacher, context, options, say)
        alpha = self._share_of(teacher)
        self._check(alpha, teacher)
        self.units = self._choose_units()
        self._objective = Objective(
            task=student.task,
            alpha=alpha,
            temperature=1.0 if teacher is None else teacher.temperature,
            smoothing=options.label_smoothing,
            scale=self.material.scale() if self.units is None else torch.ones(()),
        )

    def batches(self) -> list[Array]:
        """The rows of the training part, in batches, in an order drawn from torch's generator."""
        return self._cut(shuffled(self.material.parts.training))

    def prepare(self, epoch: int) -> None:
        """Makes what an epoch needs and others may use again; seeds generators on its way."""
        if self._variations is not None:
            self._variations.prepare(epoch)

    def loss(self, rows: Array) -> torch.Tensor:
        """The loss of a training batch, with gradients."""
        varied, taught = self._lesson(rows)
        return self._loss(self._student.answer(varied), rows, taught)

    def _lesson(self, rows: Array) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Inputs of a training batch, and what the teacher says to them; None where there is none."""
        if self._variations is not None:
            return self._variations.batch(rows)
        inputs = self.material.inputs(rows)
        varied = inputs if self._augment is None else self._augment(inputs)
        if self._lessons is None:
            return varied, None
        if self._augment is None:
            return varied, self._lessons.unvaried(rows)
        return varied, self._lessons.varied(copied(varied))

    def validate(self) -> Validation:
        """Asks the module for the validation part, nothing varied."""
        import torch

        rows = self.material.parts.validation
        if len(rows) == 0:
            return Validation(None, None)
        answers = torch.cat(list(self._student.answers(self.material, rows, self._size)))
        taught = None if self._lessons is None else self._lessons.unvaried(rows)
        loss = finite(float(self._loss(answers, rows, taught)))
        return Validation(
            loss, self._scored(answers if self.units is None else self.units.own(answers))
        )

    def _loss(
        self, answers: torch.Tensor, rows: Array, taught: torch.Tensor | None
    ) -> torch.Tensor:
        """The objective, all in the units that the module answers in."""
        targets = self.material.targets(rows)
        if self.units is not None:
            targets = None if targets is None else self.units.standard(targets)
            taught = None if taught is None else self.units.standard(taught)
        return self._objective.loss(answers, targets, taught, self.material.mask(rows))

    def _choose_units(self) -> Units | None:
        """Standard ones for a regression, by its targets or else by what its teacher answers."""
        if self._student.task != "regression":
            return None
        values = self.material.targets(self.material.parts.training)
        if values is None and self._lessons is not None:
            values = self._lessons.unvaried(self._known)
        return None if values is None else units_of(self._student, self.material, values)

    def teacher_score(self) -> float | None:
        """The deciding metric of the teacher on the validation part."""
        rows = self.material.parts.validation
        if self._lessons is None or len(rows) == 0:
            return None
        return self._scored(self._lessons.unvaried(rows))

    def _scored(self, answers: torch.Tensor) -> float | None:
        rows = self.material.parts.validation
        targets = self.material.scored_targets(rows)
        if self._student.task == "feature_extraction" and self._lessons is not None:
            targets = self._lessons.unvaried(rows).numpy()
        if targets is None or not answers.isfinite().all():
            return None
        return finite(self._score(answers.numpy(), targets))

    def _cut(self, rows: Array) -> list[Array]:
        """Batches; of one example none where a BatchNorm would be left without a variance."""
        return batches_of(rows, self._size, self._student.fixed_batch is not None, self._least)

    @property
    def _least(self) -> int:
        """Examples that the module can be trained on at once."""
        return 2 if _has_batch_norm(self._student.module) else 1

    def _ask(
        self,
        teacher: Teacher,
        context: PassContext,
        options: TrainingOptions,
        say: Callable[[str], None],
    ) -> Lessons:
        import numpy as np

        parts = self.material.parts
        rows = parts.validation
        if self._augment is None or len(rows) == 0:
            rows = np.sort(np.concatenate(parts))
        shaped_by = [teacher.key, self._size, options.threads, len(rows), context.seed]
        return Lessons(
            self._student._replace(module=teacher.module, outputs=teacher.outputs),
            self.material,
            rows,
            self._size,
            context.checkpoints,
            sha256_json(shaped_by),
            say,
        )

    def _vary(
        self,
        teacher: Teacher,
        context: PassContext,
        options: TrainingOptions,
        say: Callable[[str], None],
    ) -> Variations | None:
        """Variations to keep; None where new ones in each epoch are no dearer, or they are too large."""
        count = teacher.variations
        if self._augment is None or count is None or count >= options.epochs:
            return None
        assert self._lessons is not None, "there is a teacher"
        rows = self.material.parts.training
        one = [*self.material.inputs(rows[:1]).values(), self._lessons.unvaried(self._known[:1])]
        if count * len(rows) * sum(tensor.nbytes for tensor in one) > CACHE_BYTES:
            say(f"{count} variations of {len(rows)} examples are too large to keep")
            return None
        augment = context.training.augment
        shaped_by = [teacher.key, augment, len(rows), self._student.fixed_batch, context.seed]
        return Variations(
            count,
            self._augment,
            self._student._replace(module=teacher.module, outputs=teacher.outputs),
            self.material,
            context.checkpoints,
            sha256_json([*shaped_by, options.threads]),
            context.seed,
            say,
        )

    def _share_of(self, teacher: Teacher | None) -> float:
        """Alpha; where there are no labels by nature, the teacher has all of it."""
        if teacher is None:
            return 0.0
        return 1.0 if self._student.task == "feature_extraction" else teacher.alpha

    def _check(self, alpha: float, teacher: Teacher | None) -> None:
        """Sees whether outputs, targets and the teacher's answers fit each other.

        Raises:
            BuildError: They do not.
        """
        import numpy as np
        import torch

        rows, task = self._known[:PROBE], self._student.task
        probe = torch.cat(list(self._student.answers(self.material, rows, self._size)))
        if alpha < 1:
            targets = self.material.targets(np.concatenate(self.material.parts))
            if targets is None:
                raise BuildError(_no_targets(task, teacher))
            check_fit(task, probe, targets)
        if self._lessons is not None:
            check_answers_agree(probe, self._lessons.unvaried(rows))

    @property
    def _known(self) -> Array:
        """Rows that the teacher was asked for in any case."""
        parts = self.material.parts
        return parts.validation if len(parts.validation) else parts.training


def _no_targets(task: Task, teacher: Teacher | None) -> str:
    if task == "feature_extraction":
        return (
            "feature extraction has no targets to train on: 'distill' lets it learn from a teacher"
        )
    alone = "" if teacher is None else ", or set 'alpha' to 1, to learn from the teacher alone"
    return f"the training split has no targets: let data.training yield them{alone}"


def _no_batch(parts: Parts, least: int, fixed: int | None, size: int) -> str:
    """Why there is not one batch to train on."""
    if size < least:
        return f"'batch_size' is {size}, and a model with a BatchNorm trains on at least {least}"
    left, aside = (len(part) for part in parts)
    why = "the model's fixed batch size" if fixed is not None else "a BatchNorm needs as many"
    return (
        f"the training split has {left + aside} example{'' if left + aside == 1 else 's'}, and "
        f"{aside} of them {'is' if aside == 1 else 'are'} set aside for validation: a batch has at "
        f"least {least} ({why}), and {left} {'is' if left == 1 else 'are'} left"
    )


def _has_batch_norm(module: torch.nn.Module) -> bool:
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(m, _BatchNorm) for m in module.modules())

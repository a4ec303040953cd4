"""Knowledge distillation: the model as the user brought it teaches a smaller one."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, JsonValue

from mlopt.errors import BuildError
from mlopt.passes._training.options import TrainingOptions
from mlopt.passes.sparsify import undone_by
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Brought, Draft, Pass, PassContext, StudentModel
from mlopt.types.patterns import REFERENCE


class Distill(Pass, TrainingOptions):
    """Trains a student on the answers of its teacher, and on the labels (Hinton et al., 2015).

    The teacher is the model as the user brought it. The student is what ``student`` names; or else,
    where nothing has been done to the model yet, what ``student`` in mlopt.yaml names; or else the
    model as the steps before left it: a pruned one. ``finetune`` is the same without a teacher.

    Attributes:
        student: ``module:function`` of a smaller model, which starts with random weights.
        student_arguments: Keyword arguments for it.
        alpha: The teacher's share of the loss; the labels have the rest.
        temperature: Divides the logits of both, to show what the teacher thinks of the wrong classes.
        variations: Where mlopt.yaml names an 'augment': so many variations of each example, which
            epochs take turns with, so that the teacher is asked about each of them once. null: new
            ones in each epoch, and the teacher is asked each time, which is most of the work.
        epochs: Most passes over the training part. Those of the student in mlopt.yaml come before
            them, and before each of several choices.
        batch_size: Examples in a step; a model with a fixed batch axis keeps its own.
        optimizer: ``adamw``, or ``sgd`` with Nesterov's momentum of 0.9.
        learning_rate: The highest of the schedule. ``auto``: 0.001 for adamw, 0.05 for sgd. That of
            the student in mlopt.yaml comes before it as well.
        schedule: ``cosine`` rises at first and falls to 0; ``constant`` stays.
        warmup: Share of the steps in which a ``cosine`` rises.
        weight_decay: On matrices and kernels; never on biases and normalisations.
        label_smoothing: Share of a label's weight that goes to all classes alike.
        clip: Largest norm of the gradient; null for no limit.
        validation_fraction: Share of the training split that is set aside to choose the epoch by.
        patience: Epochs without a better one before training stops; null never stops it.
        threads: How many compute. Another number rounds otherwise. ``auto``: all cores, at most 8.
    """

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = "a pruned or smaller model learns from the one that you brought"
    consumes: ClassVar[Format] = "torch"
    produces: ClassVar[Format] = "torch"
    splits: ClassVar[tuple[str, ...]] = ("training", "selection")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "torchmetrics")
    trains: ClassVar[bool] = True

    student: Annotated[str, Field(pattern=REFERENCE)] | None = None
    student_arguments: dict[str, JsonValue] = {}
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.9
    temperature: Annotated[float, Field(gt=0)] = 4.0
    variations: Annotated[int, Field(gt=0)] | None = None

    def inapplicable(self, earlier: tuple[str, ...], brought: Brought) -> str | None:
        """A model does not learn from itself, nor stay sparse while it learns."""
        if (undone := undone_by(self.name, earlier)) is not None:
            return undone
        if earlier or brought.has_student or self.student is not None:
            return None
        return (
            "mlopt.yaml names no 'student', and a model that nothing was done to has nothing to "
            "learn from itself"
        )

    def resolve(self, cpu_flags: frozenset[str]) -> Distill:
        """Chooses the learning rate by the optimizer, and the threads by this machine."""
        return self.model_copy(update=self.choices())

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Trains the student, and keeps its best epoch.

        Raises:
            BuildError: There is no student, or it cannot be trained; the message says why.
        """
        from mlopt.frameworks.torch_module import load_module
        from mlopt.passes._training import Teacher, train
        from mlopt.passes._training.result import trained_draft
        from mlopt.passes._training.student import new_student
        from mlopt.types.tensors import fixed_batch

        taught_by, teaching = load_module(context.teacher, context.project_dir)
        named = self._named_student(artifact, context)
        if named is None:
            module, model = load_module(artifact, context.project_dir)
        else:
            module, model = new_student(named, taught_by, teaching.outputs, context)
        own = {} if named is None else _own_options(named)
        history = train(
            module,
            context,
            self.model_copy(update=own),
            outputs=model.outputs,
            fixed_batch=fixed_batch(artifact.manifest.inputs),
            teacher=Teacher(
                module=taught_by,
                outputs=teaching.outputs,
                key=context.teacher.manifest.key,
                alpha=self.alpha,
                temperature=self.temperature,
                variations=self.variations,
            ),
        )
        facts = {"student": "the model of the step before" if named is None else named.factory}
        facts |= {f"students_{name}": f"{value:g}" for name, value in own.items()}
        return trained_draft(module, model, artifact, context, history, **facts)

    def _named_student(self, artifact: Artifact, context: PassContext) -> StudentModel | None:
        """The student that the recipe or the project names; None: the model of the step before.

        Raises:
            BuildError: There is neither.
        """
        if self.student is not None:
            return StudentModel(factory=self.student, arguments=self.student_arguments)
        if len(artifact.manifest.lineage) > 1:
            return None
        if context.training.student is None:
            raise BuildError(self.inapplicable((), Brought(artifact.manifest.format, False)))
        return context.training.student


def _own_options(student: StudentModel) -> dict[str, float]:
    """What mlopt.yaml says of the training of its student, by the names of the recipe's settings."""
    own = {"learning_rate": student.learning_rate, "epochs": student.epochs}
    return {name: value for name, value in own.items() if value is not None}

"""Fine-tuning: the model trains on, on its own training data."""

from __future__ import annotations

from typing import ClassVar

from mlopt.passes._training.options import TrainingOptions
from mlopt.passes.sparsify import undone_by
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Brought, Draft, Pass, PassContext


class Finetune(Pass, TrainingOptions):
    """Trains on the labels, to win back what pruning cost; ``distill`` without a teacher.

    Attributes:
        epochs: Most passes over the training part.
        batch_size: Examples in a step; a model with a fixed batch axis keeps its own.
        optimizer: ``adamw``, or ``sgd`` with Nesterov's momentum of 0.9.
        learning_rate: The highest of the schedule. ``auto``: 0.001 for adamw, 0.05 for sgd.
        schedule: ``cosine`` rises at first and falls to 0; ``constant`` stays.
        warmup: Share of the steps in which a ``cosine`` rises.
        weight_decay: On matrices and kernels; never on biases and normalisations.
        label_smoothing: Share of a label's weight that goes to all classes alike.
        clip: Largest norm of the gradient; null for no limit.
        validation_fraction: Share of the training split that is set aside to choose the epoch by.
        patience: Epochs without a better one before training stops; null never stops it.
        threads: How many compute. Another number rounds otherwise. ``auto``: all cores, at most 8.
    """

    name: ClassVar[str] = "finetune"
    summary: ClassVar[str] = "train on, on the labels; the best epoch is kept"
    consumes: ClassVar[Format] = "torch"
    produces: ClassVar[Format] = "torch"
    splits: ClassVar[tuple[str, ...]] = ("training", "selection")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "torchmetrics")
    trains: ClassVar[bool] = True

    def inapplicable(self, earlier: tuple[str, ...], brought: Brought) -> str | None:
        """Training fills the zeros of a sparse model."""
        return undone_by(self.name, earlier)

    def resolve(self, cpu_flags: frozenset[str]) -> Finetune:
        """Chooses the learning rate by the optimizer, and the threads by this machine."""
        return self.model_copy(update=self.choices())

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Trains, and keeps the best epoch.

        Raises:
            BuildError: The model cannot be trained; the message says why.
        """
        from mlopt.frameworks.torch_module import load_module
        from mlopt.passes._training import train
        from mlopt.passes._training.result import trained_draft
        from mlopt.types.tensors import fixed_batch

        module, model = load_module(artifact, context.project_dir)
        history = train(
            module,
            context,
            self,
            outputs=model.outputs,
            fixed_batch=fixed_batch(artifact.manifest.inputs),
        )
        return trained_draft(module, model, artifact, context, history)

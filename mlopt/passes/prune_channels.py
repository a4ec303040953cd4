"""Structured pruning: channels and attention heads that matter least are removed for good."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mlopt.passes._training.options import TrainingOptions
from mlopt.passes.sparsify import undone_by
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Brought, Draft, Pass, PassContext


class PruneChannels(Pass):
    """Removes the least important channels and heads of the whole model (torch-pruning).

    Nothing is removed that has not been tried: without the channels the model must answer as it does
    when the layers that read them ignore them. What fails this is left, with the reason. One thing is
    excepted: a LayerNorm, or a GroupNorm of one group, takes its mean and variance over the channels
    that are left, so behind it these change too. The fact ``renormalized`` lists such norms.

    Attributes:
        remove: Share of the target that goes; 0.5 leaves a model of half the cost.
        target: ``macs``: multiply-accumulate operations of one example; or ``parameters``.
        importance: ``magnitude`` of the weights, ``taylor`` (weights times gradients of the training
            loss) or ``bn_scale`` (BatchNorm's factors).
        round_to: What is left of a layer's channels is a multiple of this. Heads go one by one.
        max_layer_ratio: Largest share of a layer's channels that may go.
        rounds: In how many steps, each with importances of its own.
        finetune_epochs: Of training after each round but the last, which ``distill`` or ``finetune``
            follow better.
        finetune_learning_rate: The highest of the schedule. ``auto``: that of ``finetune``.
        threads: How many compute. Another number rounds otherwise. ``auto``: all cores, at most 8.
    """

    name: ClassVar[str] = "prune_channels"
    summary: ClassVar[str] = "remove the channels and heads that matter least (torch-pruning)"
    consumes: ClassVar[Format] = "torch"
    produces: ClassVar[Format] = "torch"
    splits: ClassVar[tuple[str, ...]] = ("training", "selection")
    libraries: ClassVar[tuple[str, ...]] = (
        "torch", "torch-pruning", "safetensors", "transformers",
    )  # fmt: skip
    trains: ClassVar[bool] = True

    remove: Annotated[float, Field(gt=0, lt=1)] = 0.5
    target: Literal["macs", "parameters"] = "macs"
    importance: Literal["magnitude", "taylor", "bn_scale"] = "magnitude"
    round_to: Annotated[int, Field(ge=1)] = 8
    max_layer_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.8
    rounds: Annotated[int, Field(ge=1)] = 1
    finetune_epochs: Annotated[int, Field(ge=0)] = 0
    finetune_learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    threads: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"

    def inapplicable(self, earlier: tuple[str, ...], brought: Brought) -> str | None:
        """Without some of the channels, the groups of a sparse model are others."""
        return undone_by(self.name, earlier)

    def reads(self) -> tuple[str, ...]:
        """Training data only for gradients and for training between the rounds."""
        trains = self.rounds > 1 and self.finetune_epochs > 0
        return self.splits if trains or self.importance == "taylor" else ("selection",)

    def resolve(self, cpu_flags: frozenset[str]) -> PruneChannels:
        """Chooses the learning rate of fine-tuning, and the threads by this machine."""
        chosen = self.training().choices()
        names = {"learning_rate": "finetune_learning_rate", "threads": "threads"}
        return self.model_copy(update={names[name]: value for name, value in chosen.items()})

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Finds what can be removed, removes it round by round, and proves the result.

        Raises:
            BuildError: Nothing can be removed safely, or too little of what was asked for.
        """
        from mlopt.frameworks.torch_module import load_module
        from mlopt.passes._pruning.application import Pruning
        from mlopt.passes._training.reproducible import reproducible

        settled = self.resolve(frozenset())
        assert isinstance(settled.threads, int)
        with reproducible(settled.threads):
            module, model = load_module(artifact, context.project_dir)
            return Pruning(settled, artifact, module, model, context).run()

    def training(self) -> TrainingOptions:
        """How the model is trained between the rounds: all of the epochs, the best one kept."""
        return TrainingOptions(
            epochs=max(1, self.finetune_epochs),
            learning_rate=self.finetune_learning_rate,
            threads=self.threads,
            patience=None,
        )

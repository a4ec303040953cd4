"""How a torch artifact is rebuilt without a pickle: factory, pruning history, safetensors."""

from typing import Any

from mlopt.types.record import Record

TORCH_MODEL = "model.json"
TORCH_WEIGHTS = "weights.safetensors"
ASSETS = "assets"
"""Directory of an artifact with what is carried along to all that is made of it: a tokenizer, say."""


class HuggingFace(Record):
    """A model of the transformers library; its configuration lies in the artifact's assets.

    Attributes:
        task: As the library names it: ``text-classification``, ...
        trust_remote_code: Whether code that came with the model may run.
    """

    task: str
    trust_remote_code: bool = False


class ModuleChange(Record):
    """How pruning changed one module, after the factory built it.

    Attributes:
        module: Its dotted name; empty for the root.
        attributes: New values of integers, and of tuples of them: ``out_channels``, ...
        shapes: New shapes of its own parameters and buffers.
    """

    module: str
    attributes: dict[str, int | tuple[int, ...]] = {}
    shapes: dict[str, tuple[int, ...]] = {}


class PruningRound(Record):
    """What one round of pruning removed, for the reader.

    Attributes:
        removed: By the layer that produced them, the channels that are gone, in the numbering of
            the model before this round.
    """

    removed: dict[str, tuple[int, ...]]


class TorchModel(Record):
    """The main file of an artifact in the torch format.

    Attributes:
        factory: ``module:function`` in the project, which returns the untrained module; None for
            a model of the transformers library.
        arguments: Keyword arguments for the factory.
        outputs: Names for the outputs, in their order.
        changes: Made to what the factory returns before the weights are loaded.
        pruning: How these changes came about.
    """

    factory: str | None = None
    arguments: dict[str, Any] = {}
    outputs: tuple[str, ...] = ()
    huggingface: HuggingFace | None = None
    changes: tuple[ModuleChange, ...] = ()
    pruning: tuple[PruningRound, ...] = ()

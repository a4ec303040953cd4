"""How a torch artifact is rebuilt without a pickle: factory, history, safetensors."""

from typing import Any

from mlopt.types.record import Record

TORCH_MODEL = "model.json"
TORCH_WEIGHTS = "weights.safetensors"


class TorchModel(Record):
    """The main file of an artifact in the torch format.

    Attributes:
        factory: ``module:function`` in the project, which returns the untrained module.
        arguments: Keyword arguments for it.
        outputs: Names for the outputs, in their order.
    """

    factory: str
    arguments: dict[str, Any] = {}
    outputs: tuple[str, ...] = ()

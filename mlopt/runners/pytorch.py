"""Eager PyTorch: the reference that users start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from mlopt.frameworks.torch_module import (
    arguments_for,
    as_tensors,
    call_module,
    load_module,
    name_outputs,
)
from mlopt.providers import Provider
from mlopt.runners._base import Runner
from mlopt.types.artifact import Artifact, Format
from mlopt.types.torch_model import TorchModel

if TYPE_CHECKING:
    import numpy as np
    import torch

    Arrays = Mapping[str, np.ndarray[Any, Any]]


class PyTorchRunner(Runner):
    """Eager PyTorch on the CPU, in inference mode.

    Attributes:
        threads: Threads inside an operator; ``auto`` is the affinity mask capped by the quota.
    """

    name: ClassVar[str] = "pytorch"
    summary: ClassVar[str] = "eager PyTorch on the CPU"
    formats: ClassVar[tuple[Format, ...]] = ("torch",)

    threads: int | Literal["auto"] = "auto"

    def resolve(self, cpus: int) -> Self:
        """Sizes the thread pool."""
        return self.model_copy(update={"threads": cpus if self.threads == "auto" else self.threads})

    def unavailable_because(self) -> str | None:
        """PyTorch is not installed."""
        from importlib.util import find_spec

        return (
            None
            if find_spec("torch")
            else "torch is not installed. pip install 'torch>=2.9,<2.14'."
        )

    def open(self, artifact: Artifact, provider: Provider, project_dir: Path) -> PyTorchSession:
        """Rebuilds the module.

        Raises:
            ModelError: The factory or its weights do not fit.
        """
        import torch

        if self.threads != "auto":
            torch.set_num_threads(self.threads)
        return PyTorchSession(*load_module(artifact, project_dir))


class PyTorchSession:
    """A module in eager mode."""

    def __init__(self, module: torch.nn.Module, model: TorchModel) -> None:
        self._module = module
        self._names = model.outputs

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name."""
        import torch

        with torch.inference_mode():
            outputs = call_module(self._module, as_tensors(inputs))
        return {name: value.numpy() for name, value in name_outputs(outputs, self._names).items()}

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One forward pass on tensors that share memory with ``inputs``."""
        positional, named = arguments_for(self._module, as_tensors(inputs))
        return partial(self._module, *positional, **named)

    def serving(self) -> AbstractContextManager[object]:
        """Inference mode."""
        import torch

        return torch.inference_mode()

    def nodes(self) -> dict[str, int] | None:
        """Eager PyTorch has no execution providers."""
        return None

"""What executes the peers' models beside mlopt's own runners: torch.compile, and native OpenVINO.

They come in through the entry points of a plug-in, which ``peers.py`` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mlopt.frameworks.torch_module import (
    arguments_for,
    as_tensors,
    load_module,
    name_outputs,
)
from mlopt.providers import Provider
from mlopt.runners import Runner, Session, axes_of
from mlopt.serving.openvino_model import OpenVinoModel
from mlopt.types.artifact import Artifact, Format

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

ENTRY_POINTS = """\
[mlopt.runners]
peer_compile = peer_runners:CompiledRunner
peer_openvino = peer_runners:OpenVinoRunner
"""


class CompiledRunner(Runner):
    """``torch.compile`` with its defaults.

    Attributes:
        threads: Threads inside an operator.
    """

    name: ClassVar[str] = "peer_compile"
    summary: ClassVar[str] = "torch.compile with its defaults"
    formats: ClassVar[tuple[Format, ...]] = ("torch",)

    threads: int = 0

    def unavailable_because(self) -> str | None:
        """PyTorch is not installed."""
        return None if find_spec("torch") else "torch is not installed"

    def open(self, artifact: Artifact, provider: Provider, project_dir: Path) -> CompiledSession:
        """Rebuilds the module; it is compiled by its first call."""
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
        module, model = load_module(artifact, project_dir)
        return CompiledSession(module, model.outputs)


class CompiledSession:
    """A module, compiled."""

    def __init__(self, module: Any, names: tuple[str, ...]) -> None:
        import torch

        self._module = module
        self._compiled = torch.compile(module)
        self._names = names

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name, one example after the other: each batch size is compiled anew."""
        import numpy as np

        count = len(next(iter(inputs.values())))
        answers = [self._answer({n: a[i : i + 1] for n, a in inputs.items()}) for i in range(count)]
        return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One forward pass on tensors that share memory with ``inputs``."""
        positional, named = arguments_for(self._module, as_tensors(inputs))
        return partial(self._compiled, *positional, **named)

    def serving(self) -> AbstractContextManager[object]:
        """Inference mode."""
        import torch

        return torch.inference_mode()

    def nodes(self) -> dict[str, int] | None:
        """There are no execution providers."""
        return None

    def _answer(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        with self.serving():
            outputs = self.bind(inputs)()
        return {name: value.numpy() for name, value in name_outputs(outputs, self._names).items()}


class OpenVinoRunner(Runner):
    """Native OpenVINO on the CPU, compiled for the shapes that it is given.

    Attributes:
        precision: ``default`` leaves the hint to OpenVINO, which takes bf16 where the processor has
            it.
    """

    name: ClassVar[str] = "peer_openvino"
    summary: ClassVar[str] = "native OpenVINO on the CPU"
    formats: ClassVar[tuple[Format, ...]] = ("onnx",)

    precision: Literal["default", "f32"] = "default"

    def unavailable_because(self) -> str | None:
        """OpenVINO is not installed."""
        return None if find_spec("openvino") else "openvino is not installed"

    def open(self, artifact: Artifact, provider: Provider, project_dir: Path) -> Session:
        """Nothing is read yet: the first call compiles the model for its shapes."""
        return OpenVinoModel(
            file=str(artifact.main_file),
            provider="openvino",
            device="CPU",
            config={} if self.precision == "default" else {"INFERENCE_PRECISION_HINT": "f32"},
            static_shapes=True,
            outputs=[one.name for one in artifact.manifest.outputs],
            axes=axes_of(artifact.manifest),
        ).open()

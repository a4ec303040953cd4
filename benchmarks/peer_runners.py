"""What executes the peers' models beside mlopt's own runners: torch.compile, and native OpenVINO.

They come in through the entry points of a plug-in, which ``peers.py`` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mlopt.errors import ModelError
from mlopt.frameworks.torch_module import (
    arguments_for,
    as_tensors,
    load_module,
    name_outputs,
)
from mlopt.providers import Provider
from mlopt.runners import Runner
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

    def open(self, artifact: Artifact, provider: Provider, project_dir: Path) -> OpenVinoSession:
        """Reads the model; it is compiled by its first call.

        Raises:
            ModelError: OpenVINO cannot read it.
        """
        import openvino as ov

        try:
            ov.Core().read_model(str(artifact.main_file))
        except Exception as e:  # OpenVINO raises RuntimeError of its C++ side
            raise ModelError(f"OpenVINO cannot read the model: {_first_line(e)}") from e
        config = {} if self.precision == "default" else {"INFERENCE_PRECISION_HINT": "f32"}
        names = tuple(spec.name for spec in artifact.manifest.outputs)
        return OpenVinoSession(artifact.main_file, config, names)


class OpenVinoSession:
    """A model in native OpenVINO."""

    def __init__(self, file: Path, config: dict[str, str], names: tuple[str, ...]) -> None:
        self._file = file
        self._config = config
        self._names = names
        self._compiled: dict[tuple[tuple[int, ...], ...], Any] = {}
        self._requests: dict[int, Any] = {}

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name."""
        found = self._model(inputs)(dict(inputs))
        values = [found[i] for i in range(len(self._names))]
        return dict(zip(self._names, values, strict=True))

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One inference on these inputs; neither they nor outputs are copied.

        All calls share one request and its buffers, as a server's would.
        """
        import openvino as ov

        model = self._model(inputs)
        request = self._requests.setdefault(id(model), model.create_infer_request())
        tensors = {name: ov.Tensor(array, shared_memory=True) for name, array in inputs.items()}
        return Inference(request, tensors, tuple(inputs.values()))

    def serving(self) -> AbstractContextManager[object]:
        """Nothing to enter."""
        return nullcontext()

    def nodes(self) -> dict[str, int] | None:
        """There are no execution providers."""
        return None

    def _model(self, inputs: Arrays) -> Any:
        """Compiled for the shapes of ``inputs``, as one does who knows them."""
        import openvino as ov

        key = tuple(array.shape for array in inputs.values())
        if key not in self._compiled:
            core = ov.Core()
            try:
                model = core.read_model(str(self._file))
                model.reshape({name: list(array.shape) for name, array in inputs.items()})
                self._compiled[key] = core.compile_model(model, "CPU", self._config)
            except Exception as e:  # OpenVINO raises RuntimeError of its C++ side
                raise ModelError(f"OpenVINO cannot compile the model: {_first_line(e)}") from e
        return self._compiled[key]


@dataclass(frozen=True)
class Inference:
    """One inference of a request that others use too.

    Attributes:
        arrays: Those that the tensors share memory with, and do not keep alive.
    """

    request: Any
    tensors: dict[str, Any]
    arrays: tuple[object, ...]

    def __call__(self) -> object:
        """The outputs."""
        for name, tensor in self.tensors.items():
            self.request.set_tensor(name, tensor)
        return self.request.infer(share_outputs=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

"""Sessions of OpenVINO by itself, without ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import ModelError
from mlopt.serving.attach import OPENVINO
from mlopt.serving.failure import cause_of
from mlopt.serving.shaped import ShapedSession, sizes_of

if TYPE_CHECKING:
    import numpy as np
    import openvino as ov

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]
    _Tensors = list[tuple[str, ov.Tensor, Array]]
    """Name, tensor, and the array that it shares memory with and does not keep alive."""

COMPUTES_NOTHING = frozenset({"Input", "Output", "Const"})
"""Types of nodes of a compiled graph that compute nothing."""


class OpenVinoModel(NamedTuple):
    """A file, and how it is run.

    Attributes:
        file: Path of the model: ONNX, or OpenVINO's own format.
        provider: Its name, for messages.
        device: As OpenVINO names it: ``CPU``.
        config: Properties of the device.
        static_shapes: Compile for each shape of inputs that comes.
        outputs: Names of the outputs in their order; empty: as the file has them.
        axes: Of each input, its sizes and the names of its dynamic axes.
    """

    file: str
    provider: str
    device: str
    config: Mapping[str, str]
    static_shapes: bool
    outputs: Sequence[str]
    axes: Mapping[str, Sequence[int | str]]

    def open(self) -> OpenVinoSession | ShapedSession:
        """Compiles the model; with ``static_shapes``, for each shape when it comes.

        Raises:
            ModelError: OpenVINO refuses the model.
        """
        if self.static_shapes:
            return ShapedSession(self.create, self.axes)
        return self.create()

    def create(self, sizes: Mapping[str, int] | None = None) -> OpenVinoSession:
        """Compiles the model once.

        Args:
            sizes: Of dynamic axes, by their names in the file; the others stay dynamic.

        Raises:
            ModelError: OpenVINO refuses the model.
        """
        return OpenVinoSession(self.compiled(sizes), self.outputs)

    def sizes(self, inputs: Arrays) -> dict[str, int]:
        """The sizes that dynamic axes have in a session for ``inputs``; none without static shapes."""
        return sizes_of(inputs, self.axes) if self.static_shapes else {}

    def compiled(
        self, sizes: Mapping[str, int] | None = None, config: Mapping[str, str] | None = None
    ) -> ov.CompiledModel:
        """The model, compiled.

        Args:
            sizes: As for :meth:`create`.
            config: Further properties of the device.

        Raises:
            ModelError: OpenVINO refuses the model.
        """
        try:
            import openvino as ov
            from openvino._offline_transformations import apply_moc_transformations

            core = ov.Core()
            model = core.read_model(self.file)
            # What convert_model does besides, and without which some fusions are missing; that function
            # itself reports its use to OpenVINO's makers.
            apply_moc_transformations(model, cf=False)
            if sizes:
                model.reshape(
                    {
                        name: [
                            sizes.get(axis, -1) if isinstance(axis, str) else axis for axis in axes
                        ]
                        for name, axes in self.axes.items()
                        if name in _names(model.inputs)
                    }
                )
            return core.compile_model(model, self.device, {**self.config, **(config or {})})
        except Exception as e:  # OpenVINO raises RuntimeError of its C++ side
            raise ModelError(
                f"OpenVINO cannot load {PurePath(self.file).name} on {self.provider}: {cause_of(e)}"
            ) from e


def open_openvino(**fields: Any) -> OpenVinoSession | ShapedSession:
    """Opens a model.

    Args:
        fields: Those of :class:`OpenVinoModel`.

    Raises:
        ModelError: OpenVINO refuses it.
    """
    return OpenVinoModel(**fields).open()


class OpenVinoSession:
    """A model compiled by OpenVINO. Callers may be many: each inference has a request to itself."""

    def __init__(self, compiled: ov.CompiledModel, outputs: Sequence[str] = ()) -> None:
        """Wraps what is compiled.

        Args:
            compiled: The model.
            outputs: Their names in order; empty: those that it has itself.
        """
        self._compiled = compiled
        self._inputs = [sorted(port.get_names()) for port in compiled.inputs]
        self._outputs = _places(compiled.outputs, outputs)
        # Its buffers are as large as the activations: as many as there are callers at a time.
        self._idle: list[ov.InferRequest] = []

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Outputs by name.

        Raises:
            ModelError: An input is missing, or OpenVINO refuses one.
        """
        found = self._infer(self._tensors(inputs), shared=False)
        return {name: found[place] for name, place in self._outputs.items()}

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One inference: inputs are read where they are, outputs stay in the request's buffers.

        Raises:
            ModelError: An input is missing.
        """
        return partial(self._infer, self._tensors(inputs), shared=True)

    def serving(self) -> AbstractContextManager[object]:
        """Nothing to enter."""
        return nullcontext()

    def nodes(self) -> dict[str, int]:
        """All nodes of the compiled graph that compute: there is nobody else to take one."""
        ops = self._compiled.get_runtime_model().get_ops()
        return {OPENVINO: sum(layer_of(op) not in COMPUTES_NOTHING for op in ops)}

    def profile(self) -> list[ov.ProfilingInfo]:
        """What the profiler saw of the last inference; the model is compiled with ``PERF_COUNT``."""
        found: list[ov.ProfilingInfo] = self._idle[-1].get_profiling_info()
        return found

    def _infer(self, tensors: _Tensors, *, shared: bool) -> Any:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            for name, tensor, _ in tensors:
                request.set_tensor(name, tensor)
            return request.infer(share_outputs=shared)
        except RuntimeError as e:
            raise ModelError(f"OpenVINO cannot run the model: {cause_of(e)}") from e
        finally:
            self._idle.append(request)

    def _tensors(self, inputs: Arrays) -> _Tensors:
        """Those that the compiled graph takes: it has dropped what the file does not use."""
        import numpy as np
        import openvino as ov

        found = []
        for names in self._inputs:
            name = next((one for one in names if one in inputs), None)
            if name is None:
                raise ModelError(f"the model takes an input '{names[0]}', which is missing")
            array = np.asarray(inputs[name], order="C")
            found.append((name, ov.Tensor(array, shared_memory=True), array))
        return found


def _places(ports: Sequence[Any], names: Sequence[str]) -> dict[str, int]:
    """Where each output stands: by its name; by its place in the file where that is lost."""
    known = {name: i for i, port in enumerate(ports) for name in port.get_names()}
    own = names or [port.any_name for port in ports]
    return {name: known.get(name, place) for place, name in enumerate(own)}


def layer_of(node: ov.Node) -> str:
    """The type of a node of a compiled graph, as the device calls it: ``Convolution``."""
    return str(node.get_rt_info()["layerType"].astype(str))


def _names(ports: Sequence[Any]) -> set[str]:
    return {name for port in ports for name in port.get_names()}

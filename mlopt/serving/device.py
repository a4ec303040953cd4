"""Inferences on buffers in a device's memory, and CUDA graphs of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mlopt.errors import ModelError
from mlopt.serving import Binding

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

    Array = np.ndarray[Any, Any]

NOT_CAPTURED = "-1"
"""The number of no graph: an inference that is neither captured nor replayed."""

TOLERANCE = 1e-3
"""How far a replayed answer may be from the ordinary one, as a share of the largest output. Both come
out of the same kernels; buffers that were mixed up are off by far more."""


class DeviceCall:
    """One inference on buffers of its own: call it as often as you like.

    With CUDA graphs the calls of a session take turns: ONNX Runtime captures a graph for each thread,
    and nobody else may use the GPU meanwhile.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Mapping[str, Array],
        binding: Binding,
        graph: int,
        turn: AbstractContextManager[object],
    ) -> None:
        """Puts the inputs into buffers on the device, and captures the inference where asked to.

        Args:
            session: On the provider of ``binding``.
            inputs: By name.
            binding: Where the buffers are, and what a call does.
            graph: A number of its own for the graph of this call.
            turn: Entered for each call; shared by all calls of the session.

        Raises:
            ModelError: The captured inference answers otherwise than the ordinary one.
        """
        import onnxruntime as ort

        self._session = session
        self._copies = binding.copies
        self._turn = turn
        self._options = graph_options(str(graph)) if binding.replays else None
        self._io = session.io_binding()
        self._feeds: list[tuple[ort.OrtValue, Array]] = []
        for name, array in inputs.items():
            value = ort.OrtValue.ortvalue_from_numpy(array, binding.device, 0)
            self._io.bind_ortvalue_input(name, value)
            self._feeds.append((value, array))
        self._results: list[ort.OrtValue] = []
        names = [output.name for output in session.get_outputs()]
        if not binding.replays:
            for name in names:
                self._io.bind_output(name, binding.device, 0)
            return
        ordinary = session.run(names, dict(inputs), graph_options(NOT_CAPTURED))
        for name, array in zip(names, ordinary, strict=True):
            value = ort.OrtValue.ortvalue_from_shape_and_type(
                array.shape, array.dtype, binding.device, 0
            )
            self._io.bind_ortvalue_output(name, value)
            self._results.append(value)
        self._capture(names, ordinary)

    def __call__(self) -> list[Array] | None:
        """Runs; the outputs where they are copied back, None where they stay on the device."""
        with self._turn:
            if not self._copies:
                self._session.run_with_iobinding(self._io, self._options)
                return None
            for value, array in self._feeds:
                value.update_inplace(array)
            self._session.run_with_iobinding(self._io, self._options)
            return self.outputs()

    def outputs(self) -> list[Array]:
        """What the last call answered, copied to the host."""
        found: list[Array] = self._io.copy_outputs_to_cpu()
        return found

    def _capture(self, names: list[str], ordinary: list[Array]) -> None:
        """Captures with a first call, and compares the answers of a second, which is a replay."""
        import numpy as np

        self()
        self()
        for name, expected, found in zip(names, ordinary, self.outputs(), strict=True):
            scale = TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0)))
            if not np.allclose(found, expected, rtol=0, atol=scale, equal_nan=True):
                raise ModelError(
                    f"output '{name}' of the captured CUDA graph differs from the ordinary answer. "
                    "Choose a provider without graphs."
                )


def graph_options(number: str) -> ort.RunOptions:
    """Options of a run that belongs to the CUDA graph with that number."""
    import onnxruntime as ort

    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", number)
    return options

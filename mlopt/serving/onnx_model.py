"""Sessions of ONNX Runtime."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import ModelError
from mlopt.serving import Binding
from mlopt.serving.attach import Attachment, attach
from mlopt.serving.device import NOT_CAPTURED, DeviceCall, graph_options
from mlopt.serving.failure import cause_of
from mlopt.serving.shaped import ShapedSession, sizes_of

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

    Arrays = Mapping[str, np.ndarray[Any, Any]]

HOST = Binding("cpu")


class OnnxModel(NamedTuple):
    """A file, and how it is run.

    Attributes:
        file: Path of the model.
        provider: Its name, for messages.
        settings: The fields of :class:`~mlopt.runners.onnxruntime.OnnxRuntimeRunner`, resolved or not.
        attachment: What brings the provider to a session.
        binding: How inputs and outputs are bound; None: not at all.
        axes: Of each input, its sizes and the names of its dynamic axes; for ``static_shapes``.
    """

    file: str
    provider: str
    settings: Mapping[str, Any]
    attachment: Attachment
    binding: Binding | None
    axes: Mapping[str, Sequence[int | str]]

    def open(self) -> OnnxSession | ShapedSession:
        """Creates an inference session; with ``static_shapes``, one for each shape when it comes.

        Raises:
            ModelError: ONNX Runtime refuses the model on this provider.
        """
        if self.settings["static_shapes"]:
            return ShapedSession(self.create, self.axes)
        return self.create()

    def create(self, sizes: Mapping[str, int] | None = None) -> OnnxSession:
        """Creates one inference session.

        Args:
            sizes: Of dynamic axes, by their names in the file; the others stay dynamic.

        Raises:
            ModelError: ONNX Runtime refuses the model on this provider.
        """
        import onnxruntime as ort

        try:
            options = session_options(self.settings, sizes)
            providers = attach(self.attachment, options)
            # Otherwise it starts again on the CPU when the provider fails, and says so to nobody.
            session = ort.InferenceSession(
                self.file, options, providers=providers, enable_fallback=0
            )
        except Exception as e:  # ONNX Runtime raises classes of its C++ side
            raise ModelError(
                f"ONNX Runtime cannot load {Path(self.file).name} on {self.provider}: {cause_of(e)}"
            ) from e
        return OnnxSession(session, self.binding)

    def sizes(self, inputs: Arrays) -> dict[str, int]:
        """The sizes that dynamic axes have in a session for ``inputs``; none without static shapes."""
        return sizes_of(inputs, self.axes) if self.settings["static_shapes"] else {}


def open_onnx(**fields: Any) -> OnnxSession | ShapedSession:
    """Opens a model.

    Args:
        fields: Those of :class:`OnnxModel`, as JSON made lists of their tuples.

    Raises:
        ModelError: ONNX Runtime refuses it.
    """
    attachment, binding = fields.pop("attachment"), fields.pop("binding")
    model = OnnxModel(
        **fields,
        attachment=Attachment(*attachment),
        binding=None if binding is None else Binding(*binding),
    )
    return model.open()


def session_options(
    settings: Mapping[str, Any], sizes: Mapping[str, int] | None = None
) -> ort.SessionOptions:
    """Options of a session that runs with these settings.

    Args:
        settings: As in :class:`OnnxModel`.
        sizes: As for :meth:`OnnxModel.create`.
    """
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = thread_count(settings["intra_op_threads"])
    if settings["execution_mode"] == "parallel":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        options.inter_op_num_threads = thread_count(settings["inter_op_threads"])
    if not settings["allow_spinning"]:
        for pool in ("intra_op", "inter_op"):
            options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    options.graph_optimization_level = {
        "none": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "all": levels.ORT_ENABLE_ALL,
    }[settings["graph_optimization"]]
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for axis, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(axis, size)
    return options


def thread_count(setting: int | str) -> int:
    """As ONNX Runtime counts them: 0 leaves the number to it."""
    return 0 if isinstance(setting, str) else setting


class OnnxSession:
    """A model loaded by ONNX Runtime."""

    def __init__(self, session: ort.InferenceSession, binding: Binding | None) -> None:
        self._session = session
        self._binding = binding
        self._outputs = [output.name for output in session.get_outputs()]
        self._graphs = itertools.count(1)
        replays = binding is not None and binding.replays
        turn: AbstractContextManager[object] = threading.Lock() if replays else nullcontext()
        self._turn = turn
        # Batches of any shape: the same kernels as in the graphs, launched one by one.
        self._run_options = graph_options(NOT_CAPTURED) if replays else None

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name."""
        found = self._session.run(None, dict(inputs), self._run_options)
        return dict(zip(self._outputs, found, strict=True))

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One inference; bound beforehand as the provider says, which says what is timed.

        Raises:
            ModelError: A CUDA graph of it answers otherwise than the model.
        """
        if self._binding is None:
            return partial(self._session.run, None, dict(inputs))
        if self._binding != HOST:
            number = next(self._graphs)
            return DeviceCall(self._session, inputs, self._binding, number, self._turn)
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        for name in self._outputs:
            binding.bind_output(name)
        return partial(self._session.run_with_iobinding, binding)

    def serving(self) -> AbstractContextManager[object]:
        """Nothing to enter."""
        return nullcontext()

    def nodes(self) -> dict[str, int]:
        """Nodes by provider, from ONNX Runtime's own record of its partitioning."""
        nodes: Counter[str] = Counter()
        for subgraph in self._session.get_provider_graph_assignment_info():
            nodes[subgraph.ep_name] += len(subgraph.get_nodes())
        return dict(nodes)

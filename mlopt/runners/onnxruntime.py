"""ONNX Runtime on an execution provider."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from mlopt.errors import ModelError
from mlopt.providers import Binding, Provider, runtime_problem
from mlopt.runners._base import Runner
from mlopt.runners._device import NOT_CAPTURED, DeviceCall, graph_options
from mlopt.runners._failure import cause_of
from mlopt.runners._shaped import ShapedSession, sizes_of
from mlopt.types.artifact import Artifact, Format
from mlopt.types.measurement import Placement

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

    Arrays = Mapping[str, np.ndarray[Any, Any]]

HOST = Binding("cpu")

Threads = Annotated[int, Field(gt=0)] | Literal["auto"]


class OnnxRuntimeRunner(Runner):
    """ONNX Runtime.

    Attributes:
        intra_op_threads: Threads inside an operator; ``auto`` is the affinity mask capped by the
            cgroup's quota. OpenVINO heeds it too.
        inter_op_threads: Threads between operators, for ``execution_mode: parallel``.
        execution_mode: ``parallel`` runs branches of the graph at the same time, which pays where
            it has wide ones.
        allow_spinning: Threads that wait for work stay awake for a while. Without it an idle session
            leaves its neighbours alone, and each parallel operator starts a little later.
        graph_optimization: Level of the graph optimizations at load time. It can change answers.
        static_shapes: A session for each shape of inputs that comes, in which dynamic axes have the
            sizes of that shape. The first four have one; the others share one with dynamic axes.
    """

    name: ClassVar[str] = "onnxruntime"
    summary: ClassVar[str] = "ONNX Runtime on an execution provider"
    formats: ClassVar[tuple[Format, ...]] = ("onnx",)
    # It does not use NumPy's own thread pool, whose start is an eighth of a worker's.
    environment: ClassVar[Mapping[str, str]] = {"OPENBLAS_NUM_THREADS": "1"}

    intra_op_threads: Threads = "auto"
    inter_op_threads: Threads = "auto"
    execution_mode: Literal["sequential", "parallel"] = "sequential"
    allow_spinning: bool = True
    graph_optimization: Literal["none", "basic", "extended", "all"] = "all"
    static_shapes: bool = False

    def resolve(self, cpus: int) -> Self:
        """Sizes the thread pools."""
        sizes = {
            "intra_op_threads": self.intra_op_threads,
            "inter_op_threads": self.inter_op_threads,
        }
        return self.model_copy(
            update={name: cpus if size == "auto" else size for name, size in sizes.items()}
        )

    def shown(self) -> dict[str, Any]:
        """Threads and optimization level always; the others where they are not as usual."""
        found = self.model_dump(mode="json")
        if self.execution_mode == "sequential":
            del found["execution_mode"], found["inter_op_threads"]
        if self.allow_spinning:
            del found["allow_spinning"]
        if not self.static_shapes:
            del found["static_shapes"]
        return found

    def unavailable_because(self) -> str | None:
        """Neither or both of the packages that own ONNX Runtime are installed."""
        return runtime_problem()

    def open(
        self, artifact: Artifact, provider: Provider, project_dir: Path
    ) -> OnnxRuntimeSession | ShapedSession:
        """Creates an inference session; with ``static_shapes``, one for each shape when it comes.

        Raises:
            ModelError: ONNX Runtime refuses the model on this provider.
        """
        if self.static_shapes:
            return ShapedSession(partial(self.create, artifact, provider), artifact.manifest)
        return self.create(artifact, provider)

    def create(
        self, artifact: Artifact, provider: Provider, sizes: Mapping[str, int] | None = None
    ) -> OnnxRuntimeSession:
        """Creates one inference session.

        Args:
            artifact: An ONNX model.
            provider: Where it should run.
            sizes: Of dynamic axes, by their names in the file; the others stay dynamic.

        Raises:
            ModelError: ONNX Runtime refuses the model on this provider.
        """
        import onnxruntime as ort

        try:
            options = self.session_options(sizes)
            providers = provider.attach(options)
            # Otherwise it starts again on the CPU when the provider fails, and says so to nobody.
            session = ort.InferenceSession(
                str(artifact.main_file), options, providers=providers, enable_fallback=0
            )
        except Exception as e:  # ONNX Runtime raises classes of its C++ side
            raise ModelError(
                f"ONNX Runtime cannot load {artifact.manifest.main} on {provider.label}: "
                f"{cause_of(e)}"
            ) from e
        return OnnxRuntimeSession(session, provider)

    def fixed(self, artifact: Artifact, inputs: Arrays) -> dict[str, int]:
        """The sizes that dynamic axes have in a session for ``inputs``; none without static shapes."""
        return sizes_of(inputs, artifact.manifest) if self.static_shapes else {}

    def session_options(self, sizes: Mapping[str, int] | None = None) -> ort.SessionOptions:
        """Options of a session that runs with these settings.

        Args:
            sizes: As for :meth:`create`.
        """
        import onnxruntime as ort

        levels = ort.GraphOptimizationLevel
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = (
            0 if self.intra_op_threads == "auto" else self.intra_op_threads
        )
        if self.execution_mode == "parallel":
            options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
            options.inter_op_num_threads = (
                0 if self.inter_op_threads == "auto" else self.inter_op_threads
            )
        if not self.allow_spinning:
            for pool in ("intra_op", "inter_op"):
                options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
        options.graph_optimization_level = {
            "none": levels.ORT_DISABLE_ALL,
            "basic": levels.ORT_ENABLE_BASIC,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "all": levels.ORT_ENABLE_ALL,
        }[self.graph_optimization]
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        for axis, size in (sizes or {}).items():
            options.add_free_dimension_override_by_name(axis, size)
        return options


class OnnxRuntimeSession:
    """A model loaded by ONNX Runtime."""

    def __init__(self, session: ort.InferenceSession, provider: Provider) -> None:
        self._session = session
        self._binding = provider.binding
        self._outputs = [output.name for output in session.get_outputs()]
        self._graphs = itertools.count(1)
        replays = self._binding is not None and self._binding.replays
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

    def placement(self) -> Placement:
        """Nodes by provider, from ONNX Runtime's own record of its partitioning."""
        nodes: Counter[str] = Counter()
        for subgraph in self._session.get_provider_graph_assignment_info():
            nodes[subgraph.ep_name] += len(subgraph.get_nodes())
        return Placement(nodes=dict(nodes))

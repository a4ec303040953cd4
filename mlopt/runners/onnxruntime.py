"""ONNX Runtime on an execution provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from mlopt.errors import ModelError
from mlopt.providers import Provider, runtime_problem
from mlopt.runners._base import Runner
from mlopt.types.artifact import Artifact, Format
from mlopt.types.measurement import Placement

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

    Arrays = Mapping[str, np.ndarray[Any, Any]]


class OnnxRuntimeRunner(Runner):
    """ONNX Runtime.

    Attributes:
        intra_op_threads: Threads inside an operator; ``auto`` is the affinity mask capped by the
            cgroup's quota.
        graph_optimization: Level of the graph optimizations at load time.
    """

    name: ClassVar[str] = "onnxruntime"
    summary: ClassVar[str] = "ONNX Runtime on an execution provider"
    formats: ClassVar[tuple[Format, ...]] = ("onnx",)

    intra_op_threads: int | Literal["auto"] = "auto"
    graph_optimization: Literal["none", "basic", "extended", "all"] = "all"

    def resolve(self, cpus: int) -> Self:
        """Sizes the thread pool."""
        threads = cpus if self.intra_op_threads == "auto" else self.intra_op_threads
        return self.model_copy(update={"intra_op_threads": threads})

    def unavailable_because(self) -> str | None:
        """Neither or both of the packages that own ONNX Runtime are installed."""
        return runtime_problem()

    def open(self, artifact: Artifact, provider: Provider, project_dir: Path) -> OnnxRuntimeSession:
        """Creates an inference session.

        Raises:
            ModelError: ONNX Runtime refuses the model on this provider.
        """
        import onnxruntime as ort

        try:
            options = self._session_options()
            providers = provider.attach(options)
            session = ort.InferenceSession(str(artifact.main_file), options, providers=providers)
        except Exception as e:  # ONNX Runtime raises classes of its C++ side
            raise ModelError(
                f"ONNX Runtime cannot load {artifact.manifest.main} on {provider.label}: "
                f"{str(e).strip().splitlines()[0]}"
            ) from e
        return OnnxRuntimeSession(session, provider)

    def _session_options(self) -> ort.SessionOptions:
        import onnxruntime as ort

        levels = ort.GraphOptimizationLevel
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = (
            0 if self.intra_op_threads == "auto" else self.intra_op_threads
        )
        options.graph_optimization_level = {
            "none": levels.ORT_DISABLE_ALL,
            "basic": levels.ORT_ENABLE_BASIC,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "all": levels.ORT_ENABLE_ALL,
        }[self.graph_optimization]
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return options


class OnnxRuntimeSession:
    """A model loaded by ONNX Runtime."""

    def __init__(self, session: ort.InferenceSession, provider: Provider) -> None:
        self._session = session
        self._provider = provider
        self._outputs = [output.name for output in session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name."""
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One inference; bound beforehand where no copy to a device is hidden by that."""
        if not self._provider.host_memory:
            return partial(self._session.run, None, dict(inputs))
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

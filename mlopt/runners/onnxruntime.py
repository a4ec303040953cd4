"""ONNX Runtime on an execution provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from mlopt.providers import Provider, runtime_problem
from mlopt.runners._base import Runner, Threads, axes_of
from mlopt.serving import Opening
from mlopt.serving.onnx_model import OnnxModel, OnnxSession, thread_count
from mlopt.serving.shaped import ShapedSession
from mlopt.types.artifact import Artifact, Format


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

    def opening(self, artifact: Artifact, provider: Provider, project_dir: Path) -> Opening:
        """Everything resolved, so that a process that serves it imports ONNX Runtime and little else."""
        return Opening(
            "mlopt.serving.onnx_model:open_onnx", self.model(artifact, provider)._asdict()
        )

    def open(
        self, artifact: Artifact, provider: Provider, project_dir: Path
    ) -> OnnxSession | ShapedSession:
        """Creates an inference session; with ``static_shapes``, one for each shape when it comes.

        Raises:
            ModelError: ONNX Runtime refuses the model on this provider.
        """
        return self.model(artifact, provider).open()

    def model(self, artifact: Artifact, provider: Provider) -> OnnxModel:
        """The artifact with these settings on a provider, of which sessions can be made."""
        return OnnxModel(
            file=str(artifact.main_file),
            provider=provider.label,
            settings=self.model_dump(mode="json"),
            attachment=provider.attachment(thread_count(self.intra_op_threads)),
            binding=provider.binding,
            axes=axes_of(artifact.manifest),
        )

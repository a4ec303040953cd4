"""OpenVINO by itself, where ONNX Runtime's plug-in does not take the processor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from mlopt.errors import ConfigError
from mlopt.providers import Provider
from mlopt.providers.openvino import OpenVinoProvider
from mlopt.runners._base import Runner, Threads, axes_of
from mlopt.serving import Opening
from mlopt.serving.onnx_model import thread_count
from mlopt.serving.openvino_model import OpenVinoModel, OpenVinoSession
from mlopt.serving.shaped import ShapedSession
from mlopt.types.artifact import Artifact, Format


class OpenVinoRunner(Runner):
    """OpenVINO by itself.

    Attributes:
        intra_op_threads: Threads of an inference; ``auto`` is the affinity mask capped by the
            cgroup's quota.
        static_shapes: As of ONNX Runtime's runner.
    """

    name: ClassVar[str] = "openvino"
    summary: ClassVar[str] = (
        "OpenVINO by itself, on processors that ONNX Runtime's plug-in does not take"
    )
    formats: ClassVar[tuple[Format, ...]] = ("onnx",)
    environment: ClassVar[Mapping[str, str]] = {"OPENBLAS_NUM_THREADS": "1"}

    intra_op_threads: Threads = "auto"
    static_shapes: bool = False

    def resolve(self, cpus: int) -> Self:
        """Sizes the thread pool."""
        threads = cpus if self.intra_op_threads == "auto" else self.intra_op_threads
        return self.model_copy(update={"intra_op_threads": threads})

    def unavailable_because(self) -> str | None:
        """OpenVINO is not installed."""
        from importlib.util import find_spec

        if find_spec("openvino") is not None:
            return None
        return "openvino is not installed. Install it with: pip install 'mlopt[cpu,openvino]'."

    def opening(self, artifact: Artifact, provider: Provider, project_dir: Path) -> Opening:
        """Everything resolved, so that a process that serves it imports OpenVINO and little else."""
        return Opening(
            "mlopt.serving.openvino_model:open_openvino",
            self.model(artifact, provider)._asdict(),
        )

    def open(
        self, artifact: Artifact, provider: Provider, project_dir: Path
    ) -> OpenVinoSession | ShapedSession:
        """Compiles the model; with ``static_shapes``, for each shape when it comes.

        Raises:
            ModelError: OpenVINO refuses the model.
            ConfigError: The provider is none of OpenVINO's.
        """
        return self.model(artifact, provider).open()

    def model(self, artifact: Artifact, provider: Provider) -> OpenVinoModel:
        """The artifact with these settings on a provider, of which sessions can be made.

        Raises:
            ConfigError: The provider is none of OpenVINO's.
        """
        if not isinstance(provider, OpenVinoProvider):
            raise ConfigError(
                f"the runner 'openvino' does not run on '{provider.label}'. Use 'onnxruntime'."
            )
        return OpenVinoModel(
            file=str(artifact.main_file),
            provider=provider.label,
            device=provider.device.upper(),
            config=provider.config(thread_count(self.intra_op_threads)),
            static_shapes=self.static_shapes,
            outputs=[one.name for one in artifact.manifest.outputs],
            axes=axes_of(artifact.manifest),
        )

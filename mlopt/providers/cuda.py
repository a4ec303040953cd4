"""The CUDA execution provider."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from mlopt.providers._base import Provider
from mlopt.providers._nvidia import missing_gpu
from mlopt.serving import Binding
from mlopt.serving.attach import Attachment


class CudaProvider(Provider):
    """NVIDIA GPUs through CUDA and cuDNN, computing in fp32.

    What is timed depends on where inputs and outputs live. On the host, the copies to the GPU and
    back are part of every inference, with CUDA graphs too. With ``memory: device`` they lie in the
    GPU's memory before the clock starts and stay there after it stops: no copy is timed, which is
    what a pipeline sees that produces and consumes them on the GPU, and nobody else.

    Attributes:
        memory: Where inputs and outputs live.
        graphs: Capture an inference as a CUDA graph and replay it, which saves the launch of every
            kernel. Each shape is captured by itself; every node must run on the GPU, and a session
            answers one caller at a time.
        tf32: Let matrix products and convolutions of fp32 round their factors to TF32, as CUDA
            does when it is left to itself. Off, so that a candidate differs from its file in speed
            alone.
    """

    name: ClassVar[str] = "cuda"
    summary: ClassVar[str] = "NVIDIA GPUs through CUDA and cuDNN, in fp32; copies are timed"
    install: ClassVar[str] = (
        "On a machine with an NVIDIA GPU: pip uninstall onnxruntime, then pip install 'mlopt[gpu]'."
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "graphs": {"graphs": True},
        "tf32": {"tf32": True},
        "device": {"memory": "device"},
        "device-graphs": {"memory": "device", "graphs": True},
    }
    variant_summaries: ClassVar[dict[str, str]] = {
        "graphs": "an inference is replayed as a CUDA graph; copies are timed",
        "tf32": "factors rounded to TF32, which changes answers; copies are timed",
        "device": "inputs and outputs stay in the GPU's memory: no copy is timed",
        "device-graphs": "CUDA graphs on inputs in the GPU's memory: no copy is timed",
    }

    memory: Literal["host", "device"] = "host"
    graphs: bool = False
    tf32: bool = False

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        return "CUDAExecutionProvider"

    @property
    def binding(self) -> Binding | None:
        """Buffers on the GPU where the variant asks for them; CUDA graphs cannot do without."""
        if self.memory == "host" and not self.graphs:
            return None
        return Binding("cuda", copies=self.memory == "host", replays=self.graphs)

    def options(self) -> dict[str, Any]:
        """The precision of fp32, and whether graphs are captured."""
        return {"use_tf32": str(int(self.tf32)), "enable_cuda_graph": str(int(self.graphs))}

    def attachment(self, threads: int = 0) -> Attachment:
        """CUDA is loaded first."""
        return super().attachment(threads)._replace(cuda=True)

    def unavailable_because(self) -> str | None:
        """ONNX Runtime was built without CUDA, or there is no GPU."""
        if (reason := super().unavailable_because()) is not None:
            return reason
        return missing_gpu()

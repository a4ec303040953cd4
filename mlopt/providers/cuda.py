"""The CUDA execution provider."""

from typing import ClassVar

from mlopt.providers._base import Provider


class CudaProvider(Provider):
    """NVIDIA GPUs through CUDA and cuDNN. Inputs and outputs stay on the host, copies are timed."""

    name: ClassVar[str] = "cuda"
    summary: ClassVar[str] = "NVIDIA GPUs through CUDA and cuDNN"
    install: ClassVar[str] = (
        "On a machine with an NVIDIA GPU: pip uninstall onnxruntime, then pip install 'mlopt[gpu]'."
    )

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        return "CUDAExecutionProvider"

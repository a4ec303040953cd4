"""The CPU execution provider."""

from typing import ClassVar

from mlopt.providers._base import Provider


class CpuProvider(Provider):
    """ONNX Runtime's own kernels (MLAS): the default, and always there."""

    name: ClassVar[str] = "cpu"
    summary: ClassVar[str] = "ONNX Runtime's own CPU kernels"
    install: ClassVar[str] = "Install it with: pip install 'mlopt[cpu]'."
    host_memory: ClassVar[bool] = True

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        return "CPUExecutionProvider"

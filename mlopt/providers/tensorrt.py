"""The TensorRT execution provider."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar, Literal

from mlopt.providers._base import Provider
from mlopt.providers._nvidia import missing_gpu
from mlopt.serving.attach import Attachment

PACKAGE = "tensorrt_libs"
"""The module of NVIDIA's package with the libraries; importing it loads them."""


class TensorRtProvider(Provider):
    """NVIDIA GPUs through TensorRT, which compiles the graph for the GPU and the shapes at hand.

    The engine is built when a shape is first seen, which takes seconds to minutes, and is cached
    nowhere: the cold start that is measured has it all. Nodes that TensorRT does not take go to
    CUDA, then to the CPU, and count as fallen back. Inputs and outputs live on the host; copies are
    timed.

    Attributes:
        precision: ``fp16`` lets TensorRT choose kernels in fp16; ``int8`` also runs what stands
            between QuantizeLinear and DequantizeLinear in INT8, which such a file cannot be loaded
            without. In fp32 TensorRT may round factors to TF32, which it does not let us choose.
    """

    name: ClassVar[str] = "tensorrt"
    summary: ClassVar[str] = "NVIDIA GPUs through TensorRT, in fp32 or TF32; copies are timed"
    install: ClassVar[str] = (
        "On a machine with an NVIDIA GPU: pip uninstall onnxruntime, then pip install 'mlopt[gpu]' "
        "tensorrt."
    )
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "fp16": {"precision": "fp16"},
        "int8": {"precision": "int8"},
    }
    variant_summaries: ClassVar[dict[str, str]] = {
        "fp16": "kernels in fp16 where these are faster, which changes answers",
        "int8": "for files with Q/DQ: INT8 where they say so, fp16 elsewhere",
    }

    precision: Literal["fp32", "fp16", "int8"] = "fp32"

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        return "TensorrtExecutionProvider"

    def options(self) -> dict[str, Any]:
        """The precision; nothing is cached from one session to the next."""
        return {
            "trt_fp16_enable": str(int(self.precision != "fp32")),
            "trt_int8_enable": str(int(self.precision == "int8")),
            "trt_engine_cache_enable": "0",
            "trt_timing_cache_enable": "0",
        }

    def attachment(self, threads: int = 0) -> Attachment:
        """The libraries are loaded first; what TensorRT does not take goes to CUDA in fp32."""
        return Attachment(
            providers=(
                (self.ort_name, self.options()),
                ("CUDAExecutionProvider", {"use_tf32": "0"}),
                ("CPUExecutionProvider", {}),
            ),
            cuda=True,
            modules=() if find_spec(PACKAGE) is None else (PACKAGE,),
        )

    def unavailable_because(self) -> str | None:
        """ONNX Runtime was built without it, or TensorRT itself or a GPU is missing."""
        if (reason := super().unavailable_because()) is not None:
            return reason
        from ctypes.util import find_library

        if find_spec(PACKAGE) is None and find_library("nvinfer") is None:
            return f"the libraries of TensorRT are not installed. {self.install}"
        return missing_gpu()

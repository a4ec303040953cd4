"""OpenVINO: a plug-in for the stock ONNX Runtime, or by itself where that is passed over.

The plug-in takes Intel's processors only (up to 1.8). OpenVINO runs on any other of x86-64 and ARM too,
so there a session is its own, without ONNX Runtime.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from mlopt.machine.processor import read_processor
from mlopt.providers._base import ORT, Provider, runtime_problem
from mlopt.serving import Binding
from mlopt.serving.attach import OPENVINO, Attachment, openvino_devices

PLUG_IN, LIBRARY = "onnxruntime_ep_openvino", "openvino"
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
RENDER_NODES = Path("/dev/dri")
"""Where Linux shows GPUs, and a container the ones that it may use."""


class OpenVinoProvider(Provider):
    """OpenVINO's kernels, on the CPU or an Intel GPU.

    Left to itself OpenVINO computes in bfloat16 or fp16 where the hardware can, which changes the
    answers; the precision is fixed, so that a candidate differs from its file in speed alone, and
    ``openvino-bf16`` is another candidate, with a score of its own.

    Attributes:
        device: ``gpu`` is the first Intel GPU, integrated or discrete.
        precision: What the float parts of a graph are computed in, whatever they are stored in.
    """

    name: ClassVar[str] = "openvino"
    summary: ClassVar[str] = "OpenVINO on the CPU, in fp32"
    install: ClassVar[str] = "Install it with: pip install 'mlopt[cpu,openvino]'."
    host_memory: ClassVar[bool] = True
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "bf16": {"precision": "bf16"},
        "gpu": {"device": "gpu"},
        "gpu-fp16": {"device": "gpu", "precision": "fp16"},
    }
    variant_summaries: ClassVar[dict[str, str]] = {
        "bf16": "OpenVINO on the CPU, computing in bfloat16, which changes answers",
        "gpu": "OpenVINO on an Intel GPU, in fp32; copies are timed",
        "gpu-fp16": "OpenVINO on an Intel GPU, in fp16, which changes answers; copies are timed",
    }

    session: ClassVar[dict[str, Any]] = {"static_shapes": True}  # it compiles the graph

    device: Literal["cpu", "gpu"] = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        return OPENVINO

    def runners(self) -> tuple[str, ...]:
        """ONNX Runtime where the plug-in takes the device; OpenVINO by itself, on a CPU."""
        found = [ORT] if self._plugs_in() else []
        if self.device == "cpu" and find_spec(LIBRARY) is not None:
            found.append("openvino")
        return tuple(found)

    @property
    def binding(self) -> Binding | None:
        """The host's memory, on the CPU alone."""
        return Binding("cpu") if self.device == "cpu" else None

    def unavailable_because(self) -> str | None:
        """ONNX Runtime, OpenVINO, or what the variant needs of the hardware is missing."""
        if (reason := runtime_problem()) is not None:
            return reason
        if find_spec(PLUG_IN) is None and (self.device == "gpu" or find_spec(LIBRARY) is None):
            return (
                "OpenVINO is not installed: its kernels for CPUs and Intel GPUs are not tried "
                f"without it. {self.install}"
            )
        if not self.runners():
            if self.device == "gpu":
                return "OpenVINO sees no Intel GPU here. Install its driver, or choose another."
            return (
                "OpenVINO's plug-in for ONNX Runtime does not take this processor, and OpenVINO "
                f"itself, which does, is not installed. {self.install}"
            )
        if self.precision == "bf16" and not read_processor().flags & BF16_FLAGS:
            return "this processor has neither avx512_bf16 nor amx_bf16. Use 'openvino'."
        return None

    def _plugs_in(self) -> bool:
        """Whether the plug-in takes the device."""
        if find_spec(PLUG_IN) is None:
            return False
        if self.device == "gpu":
            if sys.platform == "linux" and not RENDER_NODES.exists():
                return False
        elif "intel" in read_processor().model.lower():
            return True
        # It is asked only where it may say no: to load it takes a moment.
        try:
            return bool(openvino_devices(self.device.upper()))
        except Exception:  # noqa: BLE001  # it cannot be loaded; OpenVINO by itself may be there
            return False

    def attachment(self, threads: int = 0) -> Attachment:
        """The plug-in's device, in the place of a provider."""
        return Attachment(openvino=(self.device.upper(), self.config(threads)))

    def config(self, threads: int) -> dict[str, str]:
        """Properties of the device, as OpenVINO names them.

        Args:
            threads: For the CPU; 0 leaves their number to OpenVINO.
        """
        found = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        if self.device == "gpu":
            return found
        # Pinned threads of two processes on one host would share the same cores.
        found["ENABLE_CPU_PINNING"] = "NO"
        if threads:
            # Without the second, threads beyond the physical cores are dropped unsaid.
            found |= {"INFERENCE_NUM_THREADS": str(threads), "ENABLE_HYPER_THREADING": "YES"}
        return found

"""The OpenVINO execution provider, a plug-in for the stock ONNX Runtime."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from mlopt.providers._base import Provider, runtime_problem

if TYPE_CHECKING:
    import onnxruntime as ort

PACKAGE = "onnxruntime_ep_openvino"


class OpenVinoProvider(Provider):
    """Intel's kernels on the CPU, computing in fp32.

    Left to itself OpenVINO computes in bfloat16 where the processor can, which changes the
    answers; the precision is fixed, so that a candidate differs from its file in speed alone.
    """

    name: ClassVar[str] = "openvino"
    summary: ClassVar[str] = "OpenVINO on the CPU, in fp32"
    install: ClassVar[str] = "Install it with: pip install 'mlopt[cpu,openvino]'."
    host_memory: ClassVar[bool] = True

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        return "OpenVINOExecutionProvider"

    def unavailable_because(self) -> str | None:
        """ONNX Runtime or the plug-in is not installed."""
        if (reason := runtime_problem()) is not None:
            return reason
        if find_spec(PACKAGE) is None:
            return f"the plug-in onnxruntime-ep-openvino is not installed. {self.install}"
        return None

    def attach(self, options: ort.SessionOptions) -> list[tuple[str, dict[str, Any]]] | None:
        """Registers the plug-in and adds the CPU as its one device."""
        import onnxruntime as ort
        import onnxruntime_ep_openvino as plugin

        ort.register_execution_provider_library(self.ort_name, plugin.get_library_path())
        devices = [
            device
            for device in ort.get_ep_devices()
            if device.ep_name == self.ort_name
            and device.device.type == ort.OrtHardwareDeviceType.CPU
        ]
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if options.intra_op_num_threads:
            config["INFERENCE_NUM_THREADS"] = str(options.intra_op_num_threads)
        options.add_provider_for_devices(devices[:1], {"load_config": json.dumps({"CPU": config})})
        return None

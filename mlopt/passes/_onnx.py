"""What the passes on ONNX graphs share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlopt.errors import BuildError
from mlopt.machine.processor import has_vnni

if TYPE_CHECKING:
    import onnx

EXTERNAL_DATA_FROM_BYTES = 1_500_000_000
"""Protobuf ends at 2 GB; from here on the weights go into a file of their own."""


def is_x86(cpu_flags: frozenset[str]) -> bool:
    """Whether ``cpu_flags`` are those of an x86."""
    return bool(cpu_flags & {"sse4_1", "avx", "avx2"})


def resolve_reduce_range(stated: bool | Literal["auto"], cpu_flags: frozenset[str]) -> bool:
    """Whether weights get 7 bits; ``auto``: where 8-bit products saturate, on x86 without VNNI."""
    return is_x86(cpu_flags) and not has_vnni(cpu_flags) if stated == "auto" else stated


def preprocess(source: Path, target: Path) -> str:
    """Shape inference and graph optimization before quantization.

    Returns:
        Which variant worked: symbolic shape inference fails on some graphs.

    Raises:
        BuildError: None does.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    failure: Exception | None = None
    for variant, skip in (("full", False), ("without symbolic shape inference", True)):
        try:
            quant_pre_process(str(source), str(target), skip_symbolic_shape=skip)
        except Exception as e:  # noqa: BLE001  # sympy and onnx raise anything
            failure = e
            continue
        return variant
    raise BuildError(f"pre-processing failed: {failure}") from failure


def quantized_operators(path: Path, marker: str) -> dict[str, Any]:
    """Facts on a quantized graph: how many operators of which type it has.

    Raises:
        BuildError: There is no ``marker`` among them: nothing was quantized.
    """
    import onnx

    model: onnx.ModelProto = onnx.load(str(path), load_external_data=False)
    counts = Counter(node.op_type for node in model.graph.node)
    if not any(marker in name for name in counts):
        raise BuildError(
            f"nothing in the graph can be quantized (it has {', '.join(sorted(counts))})"
        )
    return {"operators": dict(counts.most_common())}

"""What the passes on ONNX graphs share."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from mlopt.errors import BuildError
from mlopt.machine.processor import has_vnni

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

    Args:
        source: The graph.
        target: Where the new one goes; what ONNX Runtime leaves behind goes to its directory.

    Returns:
        Which variant worked: symbolic shape inference fails on some graphs.

    Raises:
        BuildError: None does.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, target = source.resolve(), target.resolve()
    failure: Exception | None = None
    for variant, skip in (("full", False), ("without symbolic shape inference", True)):
        try:
            # Where symbolic inference fails, it writes the graph into the current directory.
            with contextlib.chdir(target.parent):
                quant_pre_process(str(source), str(target), skip_symbolic_shape=skip)
        except Exception as e:  # noqa: BLE001  # sympy and onnx raise anything
            failure = e
            continue
        return variant
    raise BuildError(f"pre-processing failed: {failure}") from failure

"""What the passes on ONNX graphs share."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlopt.errors import BuildError
from mlopt.machine.processor import has_vnni

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

EXTERNAL_DATA_FROM_BYTES = 1_500_000_000
"""Protobuf ends at 2 GB; from here on the weights go into a file of their own."""


def is_x86(cpu_flags: frozenset[str]) -> bool:
    """Whether ``cpu_flags`` are those of an x86."""
    return bool(cpu_flags & {"sse4_1", "avx", "avx2"})


def resolve_reduce_range(stated: bool | Literal["auto"], cpu_flags: frozenset[str]) -> bool:
    """Whether weights get 7 bits; ``auto``: where 8-bit products saturate, on x86 without VNNI."""
    return is_x86(cpu_flags) and not has_vnni(cpu_flags) if stated == "auto" else stated


def forget_origins(model: ir.Model) -> None:
    """Removes what the dynamo exporter notes beside each node, from ``model`` itself.

    These are the lines of the sources that it comes from, with the paths of whoever exported it: a
    tenth of a small model, and never the same on two machines.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loop bodies too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)


def preprocess(source: Path, target: Path) -> str:
    """Shape inference and graph optimization before quantization; all nodes have names thereafter.

    Args:
        source: The graph.
        target: Where the new one goes; what ONNX Runtime leaves behind goes to its directory.

    Returns:
        Which variant worked: symbolic shape inference fails on some graphs.

    Raises:
        BuildError: None does.
    """
    with _without_torch():
        importlib.import_module("onnxruntime.tools")
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
        name_nodes(target)
        return variant
    raise BuildError(f"pre-processing failed: {failure}") from failure


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Keeps torch from being imported, which takes seconds, where it has not been yet.

    The tools of ONNX Runtime import it for a helper of theirs that nobody calls here.
    """
    modules: dict[str, Any] = sys.modules
    if "torch" in modules:
        yield
        return
    modules["torch"] = None
    try:
        yield
    finally:
        del modules["torch"]


def name_nodes(path: Path) -> None:
    """Gives each node without a name one, and each whose name another one has: options go by names.

    The same graph gets the same names.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    before = {node.name for node in model.graph.node}
    taken = {""}
    for position, node in enumerate(model.graph.node):
        if node.name in taken:
            node.name = f"{node.op_type}_{position}"
            while node.name in before:
                node.name += "_"
        taken.add(node.name)
    if taken - {""} != before:
        onnx.save(model, str(path))

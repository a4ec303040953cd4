"""Small ONNX graphs made by hand: no exporter runs for them, which takes seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pass_bench import Bench

from mlopt.pipeline.seal import seal
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import Draft
from mlopt.types.tensors import TensorSpec


def artifact(bench: Bench, nodes: list[onnx.NodeProto], batch: int | str = "batch") -> Artifact:
    """The artifact of a graph from ``image``, shape (batch, 1, 8, 8), to ``logits``, (batch, 4).

    Weights are random: what a node reads and nothing makes is one, of the shape in its name,
    ``name:2x3``.
    """
    rng = np.random.default_rng(0)
    made = {"image", *(name for node in nodes for name in node.output)}
    weights = dict.fromkeys(n for node in nodes for n in node.input if n not in made)
    shapes = {name: [int(size) for size in name.split(":")[1].split("x")] for name in weights}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [
            numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    directory = bench.new_directory()
    onnx.save(model, directory / "model.onnx")
    draft = Draft(
        main="model.onnx",
        inputs=(TensorSpec(name="image", dtype="float32", shape=(batch, 1, 8, 8)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=(batch, 4)),),
    )
    seal(directory, draft, "onnx", (LineageStep(transformation="source"),), "hand-made")
    made_by_hand = Artifact.open(directory)
    bench.teacher = made_by_hand
    return made_by_hand


def convolutions(depthwise: bool = False) -> list[onnx.NodeProto]:
    """A residual block of two convolutions, and a linear head."""
    inner: Any = ("second:8x1x3x3", 8) if depthwise else ("second:8x8x3x3", 1)
    return [
        _node("Conv", "image first:8x1x3x3 bias:8", "a", pads=[1] * 4),
        _node("Relu", "a", "b"),
        _node("Conv", f"b {inner[0]} other:8", "c", pads=[1] * 4, group=inner[1]),
        _node("Add", "b c", "d"),
        _node("Relu", "d", "e"),
        _node("GlobalAveragePool", "e", "f"),
        _node("Flatten", "f", "g"),
        _node("Gemm", "g head:8x4 last:4", "logits"),
    ]


def attention() -> list[onnx.NodeProto]:
    """An attention over the rows of the image, with a residual sum and a linear head."""
    return [
        _node("Flatten", "image", "flat"),
        _node("Gemm", "flat widen:64x64 wide:64", "tokens"),
        _node("MatMul", "image query:8x8", "q"),
        _node("MatMul", "image key:8x8", "k"),
        _node("Transpose", "k", "kt", perm=[0, 1, 3, 2]),
        _node("MatMul", "q kt", "scores"),
        _node("Softmax", "scores", "weights", axis=-1),
        _node("MatMul", "image value:8x8", "v"),
        _node("MatMul", "weights v", "mixed"),
        _node("Add", "mixed image", "sum"),
        _node("Flatten", "sum", "rows"),
        _node("Add", "rows tokens", "all"),
        _node("Gemm", "all head:64x4 last:4", "logits"),
    ]


def _node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=f"{kind}_{output}", **attributes)

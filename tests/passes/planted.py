"""A small convolutional graph, one of whose weights can be made too wide for 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pass_bench import IMAGE, Bench

from mlopt.pipeline.seal import seal
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import Draft
from mlopt.types.tensors import TensorSpec

CHANNELS = 8
LAYERS = (("first", "relu"), ("second", "relu2"), ("third", "add", "relu3"), ("head",))
"""Each product with what is computed from it, but for pooling."""


def residual_graph(*, wide: str = "", named: bool = True) -> onnx.ModelProto:
    """Three convolutions, the last one with a residual, and a head.

    Args:
        wide: The convolution whose weights are a hundredth of one outlier in each output channel.
            The outlier meets a channel that is always zero, so that it changes no answer, only the
            scale.
        named: Whether nodes have names.
    """
    rng = np.random.default_rng(0)
    weights = {"w_first": rng.normal(0, 0.4, (CHANNELS, 1, 3, 3))}
    for name in ("second", "third"):
        weights[f"w_{name}"] = rng.normal(0, 0.15, (CHANNELS, CHANNELS, 3, 3))
    weights["w_head"] = rng.normal(0, 0.5, (CHANNELS, 5))
    weights["b_first"] = np.array([-100.0] + [0.1] * (CHANNELS - 1))
    weights["b_second"] = weights["b_first"]
    if wide:
        weights[f"w_{wide}"][:, 0, 1, 1] = 100 * np.abs(weights[f"w_{wide}"]).max()
    nodes = [
        ("Conv", ["image", "w_first", "b_first"], "a", "first"),
        ("Relu", ["a"], "b", "relu"),
        ("Conv", ["b", "w_second", "b_second"], "c", "second"),
        ("Relu", ["c"], "d", "relu2"),
        ("Conv", ["d", "w_third"], "e", "third"),
        ("Add", ["e", "b"], "f", "add"),
        ("Relu", ["f"], "g", "relu3"),
        ("GlobalAveragePool", ["g"], "h", "pool"),
        ("Flatten", ["h"], "i", "flatten"),
        ("MatMul", ["i", "w_head"], "logits", "head"),
    ]
    graph = helper.make_graph(
        [
            helper.make_node(
                kind, inputs, [output], name=name if named else "", **_attributes(kind)
            )
            for kind, inputs, output, name in nodes
        ],
        "residual",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def artifact(bench: Bench, model: onnx.ModelProto) -> Artifact:
    """The model as the bench's source."""
    directory = bench.new_directory()
    onnx.save(model, str(directory / "model.onnx"))
    outputs = (TensorSpec(name="logits", dtype="float32", shape=("batch", 5)),)
    draft = Draft(main="model.onnx", inputs=IMAGE, outputs=outputs)
    seal(directory, draft, "onnx", (LineageStep(transformation="source"),), directory.name)
    bench.teacher = Artifact.open(directory)
    return bench.teacher


def answers(path: Path, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the model in a file answers."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {"image": image})[0]
    return found


def _attributes(kind: str) -> dict[str, Any]:
    return {"pads": [1, 1, 1, 1]} if kind == "Conv" else {}

"""ONNX graphs in a few lines, as artifacts on the bench."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from pass_bench import Bench

from mlopt.pipeline.seal import seal
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.passes import Draft
from mlopt.types.tensors import TensorSpec

Array = np.ndarray[Any, Any]
Node = tuple[str, str, str] | tuple[str, str, str, dict[str, Any]]


def graph_of(nodes: Sequence[Node], shape: Sequence[Any], **constants: Any) -> onnx.GraphProto:
    """Nodes as (operator, inputs, outputs, attributes), names apart by a space.

    The input is ``x``, of ``shape``; outputs are the tensors whose names begin with ``y``.
    """
    made = [
        helper.make_node(kind, i.split(), o.split(), name=f"{kind}_{place}", **dict(*attributes))
        for place, (kind, i, o, *attributes) in enumerate(nodes)
    ]
    outputs = [name for node in made for name in node.output if name.startswith("y")]
    return helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )


def model_of(graph: onnx.GraphProto, opset: int = 18) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def artifact_of(bench: Bench, model: onnx.ModelProto, examples: int = 40) -> Artifact:
    """The model as an artifact, and random examples of its input as the bench's data."""
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    directory = bench.new_directory()
    for seed, split in enumerate(("calibration", "selection")):
        name = f"{split}-{directory.name}"
        bench.add_split(name, {"x": normal(seed, examples, *dims[1:])})
        bench.snapshots[split] = bench.snapshots[name]
    onnx.save(model, directory / "model.onnx")
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", *dims[1:])),)
    draft = Draft(main="model.onnx", inputs=inputs, outputs=())
    seal(directory, draft, "onnx", (LineageStep(transformation="source"),), directory.name)
    bench.teacher = Artifact.open(directory)
    return bench.teacher


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def answers(artifact: Artifact, x: Array) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(artifact.main_file, options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, {"x": x})
    return found


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def nodes_of(artifact: Artifact) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in onnx.load(artifact.main_file).graph.node}


def constants_of(artifact: Artifact) -> dict[str, Array]:
    tensors = onnx.load(artifact.main_file).graph.initializer
    assert len({t.name for t in tensors}) == len(tensors)
    return {t.name: numpy_helper.to_array(t) for t in tensors}

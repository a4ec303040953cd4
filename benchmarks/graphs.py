"""Models for the benchmarks: a sample's own network as ONNX, a copy with more work, and a small one."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SAMPLE = Path(__file__).parents[1] / "sample_models" / "digits_resnet"
SEED = 2024


def export_sample(path: Path) -> None:
    """Exports the network of ``digits_resnet`` with its trained weights."""
    import torch
    from safetensors.torch import load_file

    sys.path.insert(0, str(SAMPLE))
    try:
        network = importlib.import_module("model").build()
    finally:
        sys.path.remove(str(SAMPLE))
    network.load_state_dict(load_file(SAMPLE / "weights.safetensors"))
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 1, 32, 32),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )


def sample_data(path: Path, examples: int) -> None:
    """Writes holdout digits as an npz with ``image`` and ``target``."""
    sys.path.insert(0, str(SAMPLE))
    try:
        batches = list(importlib.import_module("data").holdout())
    finally:
        sys.path.remove(str(SAMPLE))
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.savez(path, image=images[:examples], target=labels[:examples])


def with_more_work(source: Path, path: Path, rows: int) -> None:
    """Copies a graph whose last node is a Gemm, and puts a second head of two layers beside it.

    The head looks at the features ``rows`` times, each time weighted anew: its work grows with them, and
    its weights, which stay in a processor's own cache, do not. What it says, too small to change an
    answer, is added to the output, so that no optimizer may drop it.

    Args:
        source: The graph.
        path: Where the copy goes.
        rows: How often the second head looks: its work.
    """
    model = onnx.load(source)
    graph = model.graph
    gemm = next(node for node in graph.node if node.output[0] == graph.output[0].name)
    weights = {one.name: numpy_helper.to_array(one) for one in graph.initializer}[gemm.input[1]]
    classes, features = weights.shape
    logits, gemm.output[0] = gemm.output[0], "logits_before"
    rng = np.random.default_rng(SEED)
    shapes = {
        "more_rows": (rows, features),
        "more_first": (features, 2 * features),
        "more_last": (2 * features, classes),
    }
    for name, shape in shapes.items():
        values: NDArray[np.float32] = rng.normal(0, 0.05, shape).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, name))
    graph.initializer.append(numpy_helper.from_array(np.array(1e-9, np.float32), "more_scale"))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "more_axis"))
    graph.node.extend(
        [
            helper.make_node("Unsqueeze", [gemm.input[0], "more_axis"], ["more_features"]),
            helper.make_node("Mul", ["more_features", "more_rows"], ["more_weighted"]),
            helper.make_node("MatMul", ["more_weighted", "more_first"], ["more_hidden"]),
            helper.make_node("Relu", ["more_hidden"], ["more_active"]),
            helper.make_node(
                "ReduceMean", ["more_active", "more_axis"], ["more_pooled"], keepdims=0
            ),
            helper.make_node("MatMul", ["more_pooled", "more_last"], ["more_logits"]),
            helper.make_node("Mul", ["more_logits", "more_scale"], ["more_small"]),
            helper.make_node("Add", ["logits_before", "more_small"], [logits]),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)


def small_network(path: Path, channels: int) -> None:
    """A network of three convolutions on 32 x 32 pixels, with seeded random weights."""
    rng = np.random.default_rng(SEED)
    widths = (1, channels, channels, channels)
    nodes, initializers, name = [], [], "image"
    for i, (of, to) in enumerate(itertools.pairwise(widths)):
        weights = rng.normal(0, (9 * of) ** -0.5, (to, of, 3, 3)).astype(np.float32)
        initializers.append(numpy_helper.from_array(weights, f"w{i}"))
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        name = f"r{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", channels])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, path)

"""Make a small model to try the machine with: nothing is downloaded. Runs in a worker."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlopt.pipeline.tasks.adopt import adopt

CHANNELS = 32
LAYERS = 8
SIZE = 32
"""Eight convolutions of 3 x 3 over 32 x 32 pixels, 67 million multiplications: about 1 ms."""


def sample(onnx: str, workspace: str, snapshot: str, seed: int) -> dict[str, Any]:
    """Writes a convolutional network with random weights, an artifact of it, and random inputs.

    Args:
        onnx: The file to write.
        workspace: Empty directory for the artifact.
        snapshot: Directory for the inputs; it does not exist yet.
        seed: For weights and inputs.
    """
    import onnx as format_

    format_.save(convolutions(seed), onnx)
    return adopt(onnx, workspace, snapshot, None, seed)


def convolutions(seed: int) -> Any:
    """An ``onnx.ModelProto``: convolutions with ReLU, then the mean of each channel.

    The input ``x`` has the shape (batch, 3, 32, 32), the output ``y`` (batch, 32).
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    nodes, weights, name, channels = [], [], "x", 3
    for i in range(LAYERS):
        # He's initialization keeps the size of the activations, so that no denormals slow it down.
        scale = (2 / (9 * channels)) ** 0.5
        weight = rng.normal(0, scale, (CHANNELS, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        name, channels = f"r{i}", CHANNELS
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "sample",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CHANNELS])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

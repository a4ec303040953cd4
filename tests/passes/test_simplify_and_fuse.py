"""Graphs that are cleaned up or fused answer as they did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import artifact, convolutions
from pass_bench import Bench

from mlopt.errors import BuildError
from mlopt.passes import PASSES
from mlopt.passes._parity import Answer, Compared, check_parity
from mlopt.passes.fuse import kinds_for
from mlopt.types.artifact import Artifact
from mlopt.types.tensors import TensorSpec

TEXT = (
    TensorSpec(name="input_ids", dtype="int64", shape=("batch", "length")),
    TensorSpec(name="attention_mask", dtype="int64", shape=("batch", "length")),
)

ENCODER = """
import math
import torch
from torch import nn

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(16, 16) for _ in range(4))
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.first, self.second = nn.LayerNorm(16), nn.LayerNorm(16)

    def divide(self, x):
        return x.view(x.size()[:-1] + (2, 8)).permute(0, 2, 1, 3)

    def forward(self, x, mask):
        query, key, value = (self.divide(f(x)) for f in (self.query, self.key, self.value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(8) + mask
        mixed = torch.matmul(scores.softmax(-1), value).permute(0, 2, 1, 3).contiguous()
        x = self.first(self.out(mixed.view(mixed.size()[:-2] + (16,))) + x)
        return self.second(self.down(nn.functional.gelu(self.up(x))) + x)

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(30, 16), nn.Embedding(12, 16)
        self.norm, self.layer, self.head = nn.LayerNorm(16), Layer(), nn.Linear(16, 3)

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.size(1)).unsqueeze(0)
        x = self.norm(self.tokens(input_ids) + self.places(places))
        mask = (1.0 - attention_mask.unsqueeze(1).unsqueeze(2).to(torch.float32)) * -10000.0
        return self.head(self.layer(x, mask)[:, 0])

def build():
    return Model()
"""


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def operators(artifact: Artifact) -> list[str]:
    return [node.op_type for node in onnx.load(artifact.main_file).graph.node]


def encoder(bench: Bench, exporter: str = "torchscript") -> Artifact:
    """An exported encoder, and texts padded on either side, which a fused mask must follow."""
    rng = np.random.default_rng(0)
    for split in ("calibration", "selection"):
        ids = rng.integers(1, 30, (64, 12))
        lengths = rng.integers(3, 13, 64)
        mask = (np.arange(12) < lengths[:, None]).astype(np.int64)
        mask[::2] = mask[::2, ::-1]
        bench.add_split(f"text-{split}", {"input_ids": ids * mask, "attention_mask": mask})
        bench.snapshots[split] = bench.snapshots[f"text-{split}"]
    source = bench.source(ENCODER, inputs=TEXT, outputs=("logits",))
    return bench.apply("export_onnx", source, exporter=exporter)


def test_a_graph_is_simplified_and_answers_as_before(bench: Bench) -> None:
    exported = encoder(bench)
    simplified = bench.apply("simplify", exported)

    found = facts(simplified)
    assert found["nodes_before"] == len(operators(exported))
    assert found["nodes_after"] == len(operators(simplified)) < found["nodes_before"]
    assert found["parity_examples"] >= 64
    assert found["parity_largest_error"] < 1e-4
    assert simplified.manifest.outputs == exported.manifest.outputs


def test_a_simplifier_that_changes_the_answers_is_found_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxslim

    def spoil(path: str) -> onnx.ModelProto:
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                wrong = numpy_helper.to_array(tensor) * np.float32(1.1)
                tensor.CopyFrom(numpy_helper.from_array(wrong, tensor.name))
        return model

    made = artifact(bench, convolutions())
    monkeypatch.setattr(onnxslim, "slim", spoil)
    with pytest.raises(
        BuildError, match="differs between the simplified graph and the original by"
    ):
        bench.apply("simplify", made)


def test_an_encoder_is_fused_for_any_padding_and_its_products_still_quantize(bench: Bench) -> None:
    exported = encoder(bench)
    fused = bench.apply("fuse", exported)

    found = facts(fused)
    assert found["model_type"] == "bert"
    assert found["fusions"]["Attention"] == 1
    assert found["fusions"]["SkipLayerNormalization"] == 2
    assert found["nodes_after"] < found["nodes_before"] / 3
    assert found["parity_largest_error"] < 1e-4
    quantized = bench.apply("int8_dynamic", fused)
    assert facts(quantized)["quantized"]["QAttention"] == 1


def test_a_graph_without_a_pattern_is_refused_in_one_line(bench: Bench) -> None:
    with pytest.raises(BuildError, match=r"no attention.*\(tried vit, clip\)$"):
        bench.apply("fuse", artifact(bench, convolutions()))


@pytest.mark.parametrize(("heads", "hidden"), [(3, 16), (4, 0), (0, 16)])
def test_heads_that_do_not_divide_the_features_are_refused(
    bench: Bench, heads: int, hidden: int
) -> None:
    with pytest.raises(BuildError, match="give 'heads' and 'hidden' of the model"):
        bench.apply("fuse", artifact(bench, convolutions()), heads=heads, hidden=hidden)


def test_the_kinds_of_model_follow_from_what_goes_in() -> None:
    assert kinds_for(TEXT) == ("bert", "gpt2")
    assert kinds_for([TensorSpec(name="x", dtype="float32", shape=("batch", 3, 8, 8))]) == (
        "vit",
        "clip",
    )


def identity(path: Path, outputs: Sequence[str] = ("y",), factor: float = 1.0) -> Path:
    nodes = [helper.make_node("Mul", ["x", "factor"], [name]) for name in outputs]
    values = [helper.make_tensor_value_info(o, TensorProto.FLOAT, ["batch", 2]) for o in outputs]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        values,
        [numpy_helper.from_array(np.float32(factor), "factor")],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("outputs", "factor", "reason"),
    [
        (("y",), 1.01, "output 'y' differs between A and B by 0.01 of its magnitude; 0.0001 is"),
        (("y", "z"), 1.0, "the outputs are y, z in A and y in B"),
    ],
)
def test_what_differs_is_named_with_where_it_does(
    tmp_path: Path, outputs: Sequence[str], factor: float, reason: str
) -> None:
    x = np.array([[1.0, -1.0]], np.float32)
    answers = [Answer({"x": x}, {"y": x})]

    with pytest.raises(BuildError, match=reason):
        check_parity(identity(tmp_path / "m.onnx", outputs, factor), answers, Compared("A", "B"))


def test_the_extras_are_named_where_a_module_is_missing() -> None:
    assert PASSES["simplify"].extra == "simplify"
    assert PASSES["int8_nncf"].extra == "openvino"
    assert PASSES["fuse"].modules == ()

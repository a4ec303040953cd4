"""neural-compressor's quantizer, from a module to a graph that runs in INT8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from inc_graphs import fused, residual_block
from pass_bench import Bench

from mlopt.errors import BuildError
from mlopt.frameworks.torch_module import load_module
from mlopt.passes._inc.export import Call, check_axes
from mlopt.types.artifact import Artifact
from mlopt.types.tensors import TensorSpec

pytestmark = pytest.mark.slow

RESIDUAL = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.tokens = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, image):
        x = self.stem(image)
        x = torch.relu(self.inner(x) + x)
        return self.head(self.tokens(x.flatten(2).transpose(1, 2)).mean(1))

def build():
    return Model()
"""

BRANCHING = RESIDUAL.replace(
    "x = self.stem(image)", "x = self.stem(image if float(image.mean()) > 0 else -image)"
)

FLOAT_PRODUCTS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}


class Quantized(NamedTuple):
    bench: Bench
    source: Artifact
    artifact: Artifact


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def run(artifact: Artifact, **inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(artifact.main_file, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    bench = Bench(tmp_path_factory.mktemp("residual"))
    source = bench.source(RESIDUAL, outputs=("logits",))
    return Quantized(bench, source, bench.apply("int8_inc", source))


def test_every_product_of_a_residual_network_runs_in_int8(
    quantized: Quantized, tmp_path: Path
) -> None:
    found = fused(quantized.artifact.main_file, tmp_path)

    assert found["QLinearConv"] == 3
    assert found["QLinearAdd"] == 1
    assert not FLOAT_PRODUCTS & set(found)


def test_the_facts_say_what_was_folded_and_added(quantized: Quantized) -> None:
    known = facts(quantized.artifact)

    assert known["quantized"] == {"Conv": 3, "MatMul": 1, "Gemm": 1}
    assert known["weights_folded"] == known["clips_removed"] == 5
    assert known["biases_folded"] == 4  # what follows a MatMul is an Add
    assert known["qdq_added"] >= 1
    assert known["calibration_examples"] == 96
    assert known["share_of_weights_in_8_bits"] == 1


def test_the_file_does_not_tell_where_the_code_of_the_model_lies(quantized: Quantized) -> None:
    assert str(quantized.bench.project).encode() not in quantized.artifact.main_file.read_bytes()


def test_the_answers_are_close_to_those_of_pytorch(quantized: Quantized) -> None:
    module, _ = load_module(quantized.source, quantized.bench.project)
    images = np.random.default_rng(9).normal(size=(32, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(images)).numpy()

    found = run(quantized.artifact, image=images)

    assert 0 < np.linalg.norm(found - wanted) < 0.1 * np.linalg.norm(wanted)
    assert run(quantized.artifact, image=images[:1]).shape == (1, 4)


def test_the_same_seed_gives_the_same_file(quantized: Quantized) -> None:
    again = quantized.bench.apply("int8_inc", quantized.source)

    assert again.main_file.read_bytes() == quantized.artifact.main_file.read_bytes()


def test_tuning_keeps_what_stays_closest_to_float_and_excluded_nodes_out(
    quantized: Quantized,
) -> None:
    graph = onnx.load(quantized.artifact.main_file).graph
    gemm = next(node.name for node in graph.node if node.op_type == "Gemm")

    tuned = quantized.bench.apply(
        "int8_inc", quantized.source, tune=True, samples=16, exclude=[gemm]
    )

    closeness: Mapping[str, float] = facts(tuned)["closeness_to_float"]
    assert set(closeness) == {"minmax", "kl"}
    assert facts(tuned)["algorithm"] == max(closeness, key=lambda name: closeness[name])
    assert all(0.5 < value < 1 for value in closeness.values())
    assert facts(tuned)["quantized"] == {"Conv": 3, "MatMul": 1}
    assert facts(tuned)["left_in_float"] == {"Gemm": 1}


def test_dynamic_axes_are_told_in_the_order_and_form_that_a_call_has() -> None:
    tokens = tuple(
        TensorSpec(name=name, dtype="int64", shape=("batch", "length")) for name in ("ids", "mask")
    )
    example = torch.zeros(2, 3)

    by_name = Call((), {"ids": example, "mask": example})
    axes = {0: "batch", 1: "length"}
    assert by_name.shapes(tokens) == {"ids": axes, "mask": axes}
    in_order = Call((example, example), {})
    assert in_order.shapes(tokens, "any") == ({0: "any", 1: "any"},) * 2
    fixed = TensorSpec(name="image", dtype="float32", shape=(2, 3))
    assert Call((example,), {}).shapes((fixed,)) == ({},)


def test_an_axis_that_the_exporter_fixed_is_named() -> None:
    model = residual_block()
    asked = TensorSpec(name="x", dtype="float32", shape=("batch", 4, "height", 6))

    with pytest.raises(BuildError, match="fixed the axis 'height' of the input 'x' to 6"):
        check_axes(model, (asked,))


def test_a_model_that_cannot_be_traced_is_refused_in_one_line(bench: Bench) -> None:
    with pytest.raises(BuildError, match=r"^PT2E cannot export the model: .+$"):
        bench.apply("int8_inc", bench.source(BRANCHING, outputs=("logits",)))

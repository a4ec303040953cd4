"""What the INT8 passes say of a graph that they quantize in part, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from pass_bench import Bench

from mlopt.errors import BuildError
from mlopt.passes._quantization import describe_quantization
from mlopt.types.artifact import Artifact
from mlopt.types.tensors import TensorSpec

pytestmark = pytest.mark.slow

ROWS = (TensorSpec(name="rows", dtype="float32", shape=("batch", 8, 8)),)

RECURRENT = """
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.{kind}(8, 32, batch_first=True)
        self.head = nn.{head}

    def forward(self, rows):
        states, _ = self.rows(rows)
        return self.head(states[:, -1])

def build():
    return Model()
"""

WEIGHT = np.ones((4, 4), np.float32)
QUANTIZED = {"w8": np.ones((4, 4), np.int8), "s": np.float32(0.1), "z": np.int8(0)}


def recurrent(bench: Bench, kind: str, head: str = "Linear(32, 10)") -> Artifact:
    """A recurrent network, and rows to export and calibrate it with."""
    for seed, split in enumerate(("calibration", "selection")):
        rows = np.random.default_rng(seed).normal(size=(64, 8, 8)).astype(np.float32)
        bench.add_split(f"rows-{split}", {"rows": rows})
        bench.snapshots[split] = bench.snapshots[f"rows-{split}"]
    code = RECURRENT.format(kind=kind, head=head)
    return bench.source(code, inputs=ROWS, outputs=("logits",))


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def answers(artifact: Artifact, examples: int) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(artifact.main_file, providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(9).normal(size=(examples, 8, 8)).astype(np.float32)
    found: np.ndarray[Any, Any] = session.run(None, {"rows": rows})[0]
    return found


def test_a_gru_stays_in_float_and_both_passes_say_so(bench: Bench) -> None:
    exported = bench.apply("export_onnx", recurrent(bench, "GRU"))
    dynamic, static = (bench.apply(name, exported) for name in ("int8_dynamic", "int8_static"))

    assert facts(exported)["exporter"] == "dynamo"
    for quantized, product in ((dynamic, "MatMulInteger"), (static, "Gemm")):
        assert facts(quantized)["quantized"] == {product: 1}
        assert facts(quantized)["left_in_float"] == {"GRU": 1}
        assert facts(quantized)["share_of_weights_in_8_bits"] == pytest.approx(0.074, abs=0.002)
        for examples in (1, 5):
            wanted = answers(exported, examples)
            assert 0 < np.abs(answers(quantized, examples) - wanted).max() < 0.05


def test_an_lstm_without_any_other_product_is_quantized_by_the_dynamic_pass(bench: Bench) -> None:
    source = recurrent(bench, "LSTM", head="Identity()")
    quantized = bench.apply(
        "int8_dynamic", bench.apply("export_onnx", source, exporter="torchscript")
    )

    assert facts(quantized)["quantized"] == {"DynamicQuantizeLSTM": 1}
    assert "left_in_float" not in facts(quantized)
    assert answers(quantized, 3).shape == (3, 32)


@pytest.mark.parametrize(
    ("kind", "name"), [("LSTM", "int8_static"), ("GRU", "int8_static"), ("GRU", "int8_dynamic")]
)
def test_scales_around_a_float_network_are_no_int8_and_are_refused(
    bench: Bench, kind: str, name: str
) -> None:
    source = recurrent(bench, kind, head="Identity()")
    exported = bench.apply("export_onnx", source, exporter="torchscript")

    with pytest.raises(BuildError, match=rf"nothing in the graph can be quantized \(.*{kind}"):
        bench.apply(name, exported)


def write(
    path: Path, nodes: Sequence[onnx.NodeProto], weights: Mapping[str, np.ndarray[Any, Any]]
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph), path)
    return path


def around(tensor: str) -> list[onnx.NodeProto]:
    """Quantizes a float tensor ``x`` and gives it back as ``x-dq``."""
    return [
        helper.make_node("QuantizeLinear", [tensor, "s", "z"], [f"{tensor}-q"]),
        helper.make_node("DequantizeLinear", [f"{tensor}-q", "s", "z"], [f"{tensor}-dq"]),
    ]


def test_a_product_is_in_8_bits_only_when_both_of_its_factors_are(tmp_path: Path) -> None:
    weight = helper.make_node("DequantizeLinear", ["w8", "s", "z"], ["w8-dq"])
    both = helper.make_node("MatMul", ["x-dq", "w8-dq"], ["a"])
    one = helper.make_node("MatMul", ["a", "w8-dq"], ["y"])

    found = describe_quantization(
        write(tmp_path / "m.onnx", [*around("x"), weight, both, one], QUANTIZED)
    )

    assert found["quantized"] == {"MatMul": 1}
    assert found["left_in_float"] == {"MatMul": 1}


def test_the_share_counts_elements_of_matrices_and_not_scales_or_biases(tmp_path: Path) -> None:
    weight = helper.make_node("DequantizeLinear", ["w8", "s", "z"], ["w8-dq"])
    gemm = helper.make_node("Gemm", ["x-dq", "w8-dq", "bias"], ["a"])
    last = helper.make_node("MatMul", ["a", "float"], ["y"])
    weights = {**QUANTIZED, "bias": np.ones(4, np.float32), "float": np.ones((4, 12), np.float32)}

    found = describe_quantization(
        write(tmp_path / "m.onnx", [*around("x"), weight, gemm, last], weights)
    )

    assert found["share_of_weights_in_8_bits"] == 0.25


def test_products_inside_a_branch_count_as_left_in_float(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "float"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    weight = helper.make_node("DequantizeLinear", ["w8", "s", "z"], ["w8-dq"])
    nodes = [
        *around("x"),
        weight,
        helper.make_node("MatMul", ["x-dq", "w8-dq"], ["a"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body),
    ]
    weights = {**QUANTIZED, "float": WEIGHT, "yes": np.array(True)}

    found = describe_quantization(write(tmp_path / "m.onnx", nodes, weights))

    assert found["left_in_float"] == {"MatMul": 2}


def test_a_table_in_8_bits_is_worth_a_candidate_though_nothing_multiplies(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["w8", "rows"], ["g"]),
        helper.make_node("DequantizeLinear", ["g", "s", "z"], ["y"]),
    ]

    found = describe_quantization(
        write(tmp_path / "m.onnx", nodes, {**QUANTIZED, "rows": np.array([0])})
    )

    assert found == {"quantized": {}, "share_of_weights_in_8_bits": 1.0}


def test_scales_without_a_product_are_refused(tmp_path: Path) -> None:
    nodes = [*around("x"), helper.make_node("Relu", ["x-dq"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, {"s": np.float32(0.1), "z": np.int8(0)})

    with pytest.raises(BuildError, match=r"it has DequantizeLinear, QuantizeLinear, Relu"):
        describe_quantization(path)

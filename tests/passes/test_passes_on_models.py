"""The passes on real, small models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from pass_bench import Bench

from mlopt.errors import BuildError
from mlopt.passes import PASSES
from mlopt.types.artifact import Artifact
from mlopt.types.tensors import TensorSpec
from mlopt.workers import run_task

pytestmark = pytest.mark.slow

CNN = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(8 * 6 * 6, 4)

    def forward(self, image):
        return self.head(self.body(image))

def build():
    return Model()
"""

ALWAYS_TRUE_BRANCH = CNN.replace(
    "return self.head(self.body(image))",
    "return self.head(self.body(image)) if float(image.mean()) > -1e9 else image",
)

BRANCH_THAT_MATTERS = CNN.replace(
    "return self.head(self.body(image))",
    "x = self.head(self.body(image)); return x if float(image.mean()) > BOUND else x * 2",
)

CONVOLUTION_ONLY = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
"""

TWO_OUTPUTS = CNN.replace(
    "return self.head(self.body(image))",
    "x = self.body(image); return {'features': x, 'logits': self.head(x)}",
)


def run(artifact: Artifact, **inputs: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    session = ort.InferenceSession(artifact.main_file, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def operators(artifact: Artifact) -> set[str]:
    return {node.op_type for node in onnx.load(artifact.main_file).graph.node}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_each_exporter_gives_a_model_for_any_batch_size_that_answers_as_pytorch_does(
    bench: Bench, exporter: str
) -> None:
    exported = bench.apply("export_onnx", bench.source(CNN, outputs=("logits",)), exporter=exporter)

    assert facts(exported)["exporter"] == exporter
    assert facts(exported)["parity_examples"] == 64
    assert facts(exported)["parity_largest_error"] < 1e-4
    assert b'File "' not in exported.main_file.read_bytes(), "where the sources are is nobody's"
    for size in (1, 3, 64):
        (logits,) = run(exported, image=np.zeros((size, 1, 8, 8), np.float32))
        assert logits.shape == (size, 4)


def test_what_dynamo_cannot_follow_goes_through_torchscript_and_says_so(bench: Bench) -> None:
    exported = bench.apply("export_onnx", bench.source(ALWAYS_TRUE_BRANCH))

    assert facts(exported)["exporter"] == "torchscript"
    assert "dynamo" in facts(exported)["fallback_because"]


def test_an_export_that_answers_otherwise_than_pytorch_is_refused(bench: Bench) -> None:
    from mlopt.store.snapshot import Snapshot

    inputs = Snapshot(Path(bench.snapshots["selection"])).inputs["image"]
    # The exporter traces two examples, the comparison sees others on the far side of the branch.
    sizes = [float(inputs[:n].mean()) for n in (2, 1, 7, 56)]
    bound = (sizes[0] + min(sizes)) / 2 if sizes[0] > min(sizes) else (sizes[0] + max(sizes)) / 2
    code = BRANCH_THAT_MATTERS.replace("BOUND", repr(bound))

    with pytest.raises(BuildError, match="differs between ONNX and PyTorch by"):
        bench.apply("export_onnx", bench.source(code), exporter="torchscript")


def _unloadable(path: Path) -> None:
    (path.parent / "weights").mkdir()
    (path.parent / "weights" / "w.bin").write_bytes(b"w")
    path.write_bytes(b"no graph")


def _of_another_answer(path: Path) -> None:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            changed = onnx.numpy_helper.to_array(tensor) + 1
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    onnx.save(model, path)


def _with_other_outputs(path: Path) -> None:
    model = onnx.load(path)
    renamed = onnx.helper.make_node("Identity", [model.graph.output[0].name], ["other"])
    model.graph.node.append(renamed)
    model.graph.output[0].name = "other"
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_unloadable, "InvalidProtobuf: "),
        (_of_another_answer, "output 'logits' differs between ONNX and PyTorch by "),
        (_with_other_outputs, "the outputs are other in ONNX and logits in PyTorch"),
    ],
)
def test_an_export_that_is_no_good_falls_back_to_the_next_exporter_and_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], reason: str
) -> None:
    kind = PASSES["export_onnx"]
    export = kind._export

    def spoilt(self: Any, exporter: str, *arguments: Any) -> None:
        export(self, "torchscript", *arguments)
        if exporter == "dynamo":
            spoil(arguments[-1])

    monkeypatch.setattr(kind, "_export", spoilt)
    source = bench.source(CNN, outputs=("logits",))
    exported = bench.apply("export_onnx", source)

    assert facts(exported)["exporter"] == "torchscript"
    assert facts(exported)["parity_largest_error"] < 1e-4
    assert list(facts(exported)["fallback_because"]) == ["dynamo"]
    assert reason in facts(exported)["fallback_because"]["dynamo"]
    assert not (exported.directory / "weights").exists()
    with pytest.raises(BuildError, match=reason):
        bench.apply("export_onnx", source, exporter="dynamo")


def test_a_model_that_fails_in_pytorch_is_not_blamed_on_the_exporters(bench: Bench) -> None:
    code = CNN.replace("return self.head", "assert len(image) != 7, 'not seven'; return self.head")

    with pytest.raises(BuildError, match=r"fails on a batch of 7: AssertionError: not seven"):
        bench.apply("export_onnx", bench.source(code))


def test_when_no_exporter_works_the_reason_of_each_is_given(bench: Bench) -> None:
    code = CNN.replace(
        "return self.head(self.body(image))",
        "return torch.linalg.eigvals(image.squeeze(1)).real",
    )

    with pytest.raises(
        BuildError, match=r"no exporter can export the model \(dynamo: .*torchscript: "
    ):
        bench.apply("export_onnx", bench.source(code))


def test_outputs_keep_the_names_that_the_model_gives_them(bench: Bench) -> None:
    exported = bench.apply("export_onnx", bench.source(TWO_OUTPUTS))

    assert [o.name for o in exported.manifest.outputs] == ["features", "logits"]
    session = ort.InferenceSession(exported.main_file, providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == ["features", "logits"]


def test_a_fixed_batch_axis_stays_fixed(bench: Bench) -> None:
    fixed = (TensorSpec(name="image", dtype="float32", shape=(2, 1, 8, 8)),)
    exported = bench.apply("export_onnx", bench.source(CNN, inputs=fixed))
    quantized = bench.apply("int8_static", exported)

    shape = (
        ort.InferenceSession(quantized.main_file, providers=["CPUExecutionProvider"])
        .get_inputs()[0]
        .shape
    )
    assert shape == [2, 1, 8, 8]


@pytest.mark.parametrize("calibration", ["minmax", "entropy", "percentile"])
def test_static_int8_quantizes_every_product_and_stays_close(
    bench: Bench, calibration: str
) -> None:
    exported = bench.apply("export_onnx", bench.source(CNN))
    quantized = bench.apply("int8_static", exported, calibration=calibration, percentile=99.999)

    assert facts(quantized)["calibration_examples"] == 96
    assert quantized.manifest.size_bytes < exported.manifest.size_bytes
    example = np.random.default_rng(9).normal(size=(32, 1, 8, 8)).astype(np.float32)
    (wanted,), (found,) = run(exported, image=example), run(quantized, image=example)
    assert np.abs(found - wanted).mean() < 0.15 * np.abs(wanted).mean()
    assert np.abs(found - wanted).max() > 0
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(
        quantized.directory.parent / f"optimized-{calibration}.onnx"
    )
    options.log_severity_level = 3
    ort.InferenceSession(quantized.main_file, options, providers=["CPUExecutionProvider"])
    fused = {n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node}
    assert not {"Conv", "Gemm", "MatMul", "FusedConv"} & fused


def test_nodes_that_are_excluded_stay_in_float(bench: Bench) -> None:
    exported = bench.apply("export_onnx", bench.source(CNN))
    prepared = bench.apply("int8_static", exported)
    gemm = next(n.name for n in onnx.load(prepared.main_file).graph.node if n.op_type == "Gemm")

    quantized = bench.apply("int8_static", exported, exclude=[gemm])

    graph = onnx.load(quantized.main_file).graph
    node = next(n for n in graph.node if n.name == gemm)
    made_by = {output: n.op_type for n in graph.node for output in n.output}
    assert made_by.get(node.input[1]) != "DequantizeLinear"


@pytest.mark.parametrize(
    ("flags", "activations", "reduced"),
    [
        ({"avx2"}, "uint8", True),
        ({"avx2", "avx512f"}, "uint8", True),
        ({"avx2", "avx_vnni"}, "uint8", False),
        ({"avx2", "avx512_vnni"}, "uint8", False),
        ({"avx2", "amx_int8"}, "uint8", False),
        ({"asimd", "asimddp"}, "int8", False),
    ],
)
def test_types_and_range_follow_the_flags_of_the_processor(
    flags: set[str], activations: str, reduced: bool
) -> None:
    static = PASSES["int8_static"]().resolve(frozenset(flags)).model_dump()
    dynamic = PASSES["int8_dynamic"]().resolve(frozenset(flags)).model_dump()

    assert static["activations"] == activations
    assert static["reduce_range"] is reduced
    assert dynamic["reduce_range"] is reduced


def test_reduced_range_keeps_weights_within_seven_bits(bench: Bench) -> None:
    exported = bench.apply("export_onnx", bench.source(CNN))
    for reduce_range, largest in ((True, 64), (False, 127)):
        quantized = bench.apply("int8_static", exported, reduce_range=reduce_range)
        weights = [
            onnx.numpy_helper.to_array(t)
            for t in onnx.load(quantized.main_file).graph.initializer
            if t.data_type == onnx.TensorProto.INT8 and len(t.dims) > 1
        ]
        assert max(int(np.abs(w.astype(int)).max()) for w in weights) == largest


def test_dynamic_int8_quantizes_matrix_products_and_leaves_convolutions(bench: Bench) -> None:
    quantized = bench.apply("int8_dynamic", bench.apply("export_onnx", bench.source(CNN)))

    found = operators(quantized)
    assert "Conv" in found
    assert "MatMulInteger" in found
    assert "Gemm" not in found


def test_dynamic_int8_quantizes_convolutions_when_asked(bench: Bench) -> None:
    exported = bench.apply("export_onnx", bench.source(CNN))

    assert "ConvInteger" in operators(bench.apply("int8_dynamic", exported, convolutions=True))


def test_a_graph_with_nothing_to_quantize_is_refused(bench: Bench) -> None:
    exported = bench.apply("export_onnx", bench.source(CONVOLUTION_ONLY, outputs=("features",)))

    with pytest.raises(BuildError, match="nothing in the graph can be quantized"):
        bench.apply("int8_dynamic", exported)


def test_calibration_memory_does_not_grow_with_the_calibration_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    code = """
from torch import nn

def build():
    wide = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 4, 3)]
    return nn.Sequential(*wide, nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
    peaks = {
        count: run_task(
            "calibration_memory:peak",
            {"code": code, "directory": str(tmp_path / str(count)), "examples": count},
        )
        for count in (16, 256)
    }

    # 240 more examples have 250 MB of activations between them.
    assert peaks[256] - peaks[16] < 80e6, peaks

"""NNCF's quantization of small graphs, and what it is given to calibrate with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_models import artifact, attention, convolutions
from pass_bench import Bench

from mlopt.errors import BuildError
from mlopt.passes import PASSES
from mlopt.passes._nncf import CalibrationSource
from mlopt.providers import resolve_provider
from mlopt.runners import RUNNERS
from mlopt.types.artifact import Artifact, FileEntry
from mlopt.types.tensors import TensorSpec

IMAGE = (TensorSpec(name="image", dtype="float32", shape=("batch", 1, 8, 8)),)
FIXED = (TensorSpec(name="image", dtype="float32", shape=(2, 1, 8, 8)),)


def run(artifact: Artifact, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = ort.InferenceSession(artifact.main_file, providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, Any] = session.run(None, {"image": image})[0]
    return found


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def images(count: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(9).normal(size=(count, 1, 8, 8)).astype(np.float32)


def distance(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    return float(np.abs(found - wanted).mean() / np.abs(wanted).mean())


def optimized_operators(artifact: Artifact) -> set[str]:
    """Operators of the graph as ONNX Runtime's own kernels run it."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(artifact.directory.parent / "optimized.onnx")
    ort.InferenceSession(artifact.main_file, options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}


@pytest.mark.parametrize("depthwise", [False, True])
def test_every_product_of_a_network_of_convolutions_runs_in_int8_and_stays_close(
    bench: Bench, depthwise: bool
) -> None:
    made = artifact(bench, convolutions(depthwise))
    quantized = bench.apply("int8_nncf", made, samples=32)

    assert sum(facts(quantized)["quantized"].values()) == 3
    assert "left_in_float" not in facts(quantized)
    assert facts(quantized)["model_type"] == "none"
    assert facts(quantized)["calibration_examples"] == 32
    assert facts(quantized)["biases_in_32_bits"] == 3
    assert 0 < distance(run(quantized, images()), run(made, images())) < 0.1
    assert not {"Conv", "Gemm", "MatMul", "FusedConv"} & optimized_operators(quantized)


def test_a_transformer_is_known_by_its_graph(bench: Bench) -> None:
    made = artifact(bench, attention())
    quantized = bench.apply("int8_nncf", made, samples=32)

    assert facts(quantized)["model_type"] == "transformer"
    assert facts(quantized)["calibration_examples"] == 32
    assert 0 < distance(run(quantized, images()), run(made, images())) < 0.2


def test_the_same_data_give_the_same_file_and_activations_lose_but_their_sign(
    bench: Bench,
) -> None:
    made = artifact(bench, convolutions())
    once, again = (
        bench.apply("int8_nncf", made, samples=4, activations="natural", preset="mixed")
        for _ in range(2)
    )
    unsigned = bench.apply("int8_nncf", made, samples=4, preset="mixed")

    assert once.main_file.read_bytes() == again.main_file.read_bytes()
    assert facts(once)["activations_without_sign"] == 0
    assert facts(unsigned)["activations_without_sign"] > 0
    assert np.allclose(run(unsigned, images()), run(once, images()), atol=1e-5)


@pytest.mark.parametrize("preset", ["default", "mixed"])
@pytest.mark.parametrize("name", ["openvino", "openvino-bf16"])
def test_openvino_compiles_a_network_of_convolutions_in_either_precision(
    bench: Bench, preset: str, name: str
) -> None:
    provider = resolve_provider(name)
    if (reason := provider.unavailable_because()) is not None:
        pytest.skip(reason)  # where the processor has no bfloat16
    made = artifact(bench, convolutions())
    quantized = bench.apply("int8_nncf", made, samples=8, preset=preset)

    session = RUNNERS[provider.runner]().open(quantized, provider, bench.project)

    assert set(session.nodes() or ()) == {"OpenVINOExecutionProvider"}
    found = session.run({"image": images()})["logits"]
    assert 0 < distance(found, run(made, images())) < 0.15


def test_a_fixed_batch_axis_stays_fixed_and_takes_whole_batches(bench: Bench) -> None:
    bench.add_split("odd", {"image": images(7)})
    bench.snapshots["calibration"] = bench.snapshots["odd"]
    quantized = bench.apply("int8_nncf", artifact(bench, convolutions(), batch=2))

    assert facts(quantized)["calibration_examples"] == 6
    assert run(quantized, images(2)).shape == (2, 4)


def test_nodes_that_are_excluded_stay_in_float(bench: Bench) -> None:
    made = artifact(bench, convolutions())

    partly = bench.apply("int8_nncf", made, samples=2, exclude=["Gemm_logits"])

    assert facts(partly)["left_in_float"] == {"Gemm": 1}
    with pytest.raises(BuildError, match=r"^NNCF: .*'no such node'.* not found"):
        bench.apply("int8_nncf", made, samples=2, exclude=["no such node"])


def test_a_model_that_one_message_does_not_hold_is_refused_before_anything_is_done(
    bench: Bench,
) -> None:
    made = artifact(bench, convolutions())
    files = {"model.onnx": FileEntry(sha256="0" * 64, size_bytes=3_000_000_000)}
    manifest = made.manifest.model_copy(update={"files": files})

    with pytest.raises(BuildError, match=r"this one has 3\.0 GB\. Use int8_static"):
        bench.apply("int8_nncf", made.model_copy(update={"manifest": manifest}))


@pytest.mark.parametrize(
    ("flags", "activations", "reduced"),
    [
        ({"avx2"}, "uint8", True),
        ({"avx2", "avx512_vnni"}, "uint8", False),
        ({"asimd"}, "natural", False),
    ],
)
def test_types_and_range_follow_the_flags_of_the_processor(
    flags: set[str], activations: str, reduced: bool
) -> None:
    resolved = PASSES["int8_nncf"]().resolve(frozenset(flags)).model_dump()

    assert (resolved["activations"], resolved["reduce_range"]) == (activations, reduced)


def test_nncf_is_loaded_without_its_telemetry_and_says_nothing() -> None:
    code = (
        "import sys\n"
        "from mlopt.passes._nncf import load_nncf\n"
        "load_nncf()\n"
        "from nncf.telemetry import telemetry\n"
        "import logging\n"
        "assert not any(name.startswith('openvino_telemetry') for name in sys.modules)\n"
        "assert type(telemetry).__module__.startswith('unittest.mock')\n"
        "assert logging.getLogger('nncf').level == logging.ERROR\n"
    )
    environment = {name: value for name, value in os.environ.items() if "NNCF" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


class Told:
    """Surroundings that count batches and remember what they were told."""

    def __init__(self, examples: int) -> None:
        self.told: list[float | None] = []
        self.sizes: list[int] = []
        self._examples = examples

    def examples(self, split: str) -> int:
        return self._examples

    def data(self, split: str, size: int) -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
        for start in range(0, self._examples, size):
            self.sizes.append(size)
            yield {"image": np.zeros((min(size, self._examples - start), 1, 8, 8), np.float32)}

    def emit(self, message: str, done: float | None = None) -> None:
        self.told.append(done)


@pytest.mark.parametrize(
    ("inputs", "examples", "most", "items", "used"),
    [(IMAGE, 10, 4, 4, 4), (IMAGE, 3, 100, 3, 3), (FIXED, 7, 100, 3, 6), (FIXED, 7, 5, 2, 4)],
)
def test_calibration_data_come_one_by_one_or_in_whole_batches(
    inputs: tuple[TensorSpec, ...], examples: int, most: int, items: int, used: int
) -> None:
    source = CalibrationSource(inputs, Told(examples), most, rounds=1)  # type: ignore[arg-type]

    sizes = [len(item["image"]) for item in source]

    assert (len(source), source.examples) == (items, used)
    assert sizes == [source.batch_size] * items


def test_calibration_data_are_read_anew_in_each_round_and_progress_never_goes_back() -> None:
    context = Told(4)
    source = CalibrationSource(IMAGE, context, 4, rounds=2)  # type: ignore[arg-type]
    for _ in range(3):
        assert len(list(source)) == 4

    shares = [done for done in context.told if done is not None]
    assert shares == sorted(shares)
    assert shares[3] == 0.5
    assert shares[-1] == 1.0
    assert len(context.sizes) <= 3 * 5


def test_calibration_data_without_one_whole_batch_are_refused() -> None:
    with pytest.raises(
        BuildError, match="has 1 examples, and the model takes batches of exactly 2"
    ):
        CalibrationSource(FIXED, Told(1), 100, rounds=1)  # type: ignore[arg-type]

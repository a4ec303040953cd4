"""OpenVINO: what it is told, what it needs, and that its precision is what was asked for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlopt.errors import ModelError, UnavailableError
from mlopt.machine.processor import Processor, read_processor
from mlopt.providers import available_providers, openvino, resolve_provider
from mlopt.providers.cpu import CpuProvider
from mlopt.providers.openvino import BF16_FLAGS, LIBRARY, PLUG_IN, OpenVinoProvider
from mlopt.runners import RUNNERS, Session
from mlopt.serving.attach import attach
from mlopt.types.artifact import Artifact, FileEntry, Manifest

with_openvino = pytest.mark.skipif(
    OpenVinoProvider().unavailable_because() is not None,
    reason=OpenVinoProvider().unavailable_because() or "",
)


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the plug-in and OpenVINO were there."""
    monkeypatch.setattr(openvino, "find_spec", lambda name: object())


def test_the_precision_is_always_stated() -> None:
    for name, precision in {"openvino": "f32", "openvino-bf16": "bf16"}.items():
        provider = resolve_provider(name)
        assert isinstance(provider, OpenVinoProvider)
        assert provider.config(0)["INFERENCE_PRECISION_HINT"] == precision
        assert "INFERENCE_NUM_THREADS" not in provider.config(0)


def test_threads_are_for_the_cpu_alone() -> None:
    assert OpenVinoProvider().config(3)["INFERENCE_NUM_THREADS"] == "3"
    assert OpenVinoProvider(device="gpu").config(3) == OpenVinoProvider(device="gpu").config(0)


def test_copies_to_an_intel_gpu_are_timed() -> None:
    assert resolve_provider("openvino").binding == CpuProvider().binding
    assert resolve_provider("openvino-gpu").binding is None


def test_without_the_extra_one_line_says_what_it_would_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "find_spec", lambda name: None)
    reasons = {n: r for n, r in available_providers().items() if n.startswith("openvino")}
    (reason,) = set(reasons.values())
    assert reason is not None
    assert "its kernels" in reason
    assert reason.endswith("pip install 'mlopt[cpu,openvino]'.")
    assert "\n" not in reason


@pytest.mark.usefixtures("_installed")
def test_bfloat16_needs_a_processor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = resolve_provider("openvino-bf16")
    for flag, usable in {"avx512_vnni": False, "avx512_bf16": True, "amx_bf16": True}.items():
        found = Processor("an Intel", "x86_64", frozenset({"avx2", flag}))
        monkeypatch.setattr(openvino, "read_processor", lambda found=found: found)
        monkeypatch.setattr(openvino, "openvino_devices", lambda kind: pytest.fail("it was loaded"))
        assert (provider.unavailable_because() is None) == usable
        assert OpenVinoProvider().unavailable_because() is None


@pytest.mark.parametrize(
    ("maker", "installed", "taken", "runners"),
    [
        ("an Intel", {PLUG_IN, LIBRARY}, False, ("onnxruntime", "openvino")),
        ("an Intel", {PLUG_IN}, False, ("onnxruntime",)),
        ("AMD EPYC", {PLUG_IN, LIBRARY}, False, ("openvino",)),
        ("AMD EPYC", {PLUG_IN, LIBRARY}, True, ("onnxruntime", "openvino")),
        ("AMD EPYC", {PLUG_IN}, False, ()),
        ("ARM", {LIBRARY}, False, ("openvino",)),
    ],
)
def test_openvino_runs_by_itself_where_the_plug_in_passes_over_the_processor(
    monkeypatch: pytest.MonkeyPatch,
    maker: str,
    installed: set[str],
    taken: bool,
    runners: tuple[str, ...],
) -> None:
    processor = Processor(maker, "x86_64", frozenset({"avx512_bf16"}))
    monkeypatch.setattr(openvino, "read_processor", lambda: processor)
    monkeypatch.setattr(openvino, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(openvino, "openvino_devices", lambda kind: [kind] if taken else [])
    for name in ("openvino", "openvino-bf16"):
        provider = resolve_provider(name)
        assert provider.runners() == runners
        assert provider.runner == (runners or ("onnxruntime",))[0]
        reason = provider.unavailable_because()
        assert (reason is None) == bool(runners)
        assert runners or "does not take this processor" in str(reason)


@pytest.mark.usefixtures("_installed")
def test_a_plug_in_that_cannot_be_loaded_leaves_openvino_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(kind: str) -> list[Any]:
        raise OSError("undefined symbol")

    monkeypatch.setattr(openvino, "read_processor", lambda: Processor("AMD", "x86_64", frozenset()))
    monkeypatch.setattr(openvino, "openvino_devices", broken)
    assert OpenVinoProvider().runners() == ("openvino",)
    assert OpenVinoProvider().unavailable_because() is None


@pytest.mark.skipif(find_spec(PLUG_IN) is None, reason="needs the extra openvino")
def test_a_plug_in_is_registered_once_though_it_shows_no_such_device() -> None:
    for kind in ("NPU", "CPU", "NPU", "CPU"):
        assert openvino.openvino_devices(kind) == openvino.openvino_devices(kind)


@pytest.mark.usefixtures("_installed")
def test_an_intel_gpu_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    provider = resolve_provider("openvino-gpu")
    looked_for: list[str] = []

    def none(kind: str) -> list[Any]:
        looked_for.append(kind)
        return []

    monkeypatch.setattr(openvino, "openvino_devices", none)
    monkeypatch.setattr(openvino, "RENDER_NODES", tmp_path)
    assert "no Intel GPU" in (provider.unavailable_because() or "")
    assert looked_for == ["GPU"]
    monkeypatch.setattr(openvino, "openvino_devices", lambda kind: ["a GPU"])
    assert provider.unavailable_because() is None


@pytest.mark.usefixtures("_installed")
def test_where_linux_shows_no_gpu_openvino_is_not_loaded_to_look_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openvino.sys, "platform", "linux")
    monkeypatch.setattr(openvino, "RENDER_NODES", tmp_path / "none")
    monkeypatch.setattr(openvino, "openvino_devices", lambda kind: pytest.fail("it was loaded"))
    assert "no Intel GPU" in (resolve_provider("openvino-gpu").unavailable_because() or "")


def test_a_device_that_has_gone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlopt.serving.attach.openvino_devices", lambda kind: [])
    with pytest.raises(UnavailableError, match="sees no GPU here"):
        attach(resolve_provider("openvino-gpu").attachment(), ort.SessionOptions())


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A matrix product of 64 by 64, whose factors bfloat16 rounds."""
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
            helper.make_node("Relu", ["h"], ["y"], name="relu"),
        ],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 64])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    directory = tmp_path_factory.mktemp("product")
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    manifest = Manifest(
        format="onnx",
        main="model.onnx",
        files={"model.onnx": FileEntry(sha256="", size_bytes=0)},
        inputs=(),
        outputs=(),
        lineage=(),
        key="",
    )
    return Artifact(directory=directory, manifest=manifest)


def session_on(name: str, artifact: Artifact) -> Session:
    provider = resolve_provider(name)
    return RUNNERS[provider.runner]().resolve(1).open(artifact, provider, Path())


def answer_on(name: str, artifact: Artifact) -> np.ndarray[Any, Any]:
    x = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
    return session_on(name, artifact).run({"x": x})["y"]


@with_openvino
def test_fp32_answers_as_onnx_runtime_does_with_every_node_placed_there(product: Artifact) -> None:
    np.testing.assert_allclose(
        answer_on("openvino", product), answer_on("cpu", product), rtol=1e-5, atol=1e-4
    )
    nodes = session_on("openvino", product).nodes() or {}
    assert set(nodes) == {"OpenVINOExecutionProvider"}
    assert nodes["OpenVINOExecutionProvider"] > 0


@with_openvino
@pytest.mark.skipif(
    not read_processor().flags & BF16_FLAGS, reason="this processor does not compute in bfloat16"
)
def test_bfloat16_is_what_changes_answers(product: Artifact) -> None:
    exact = answer_on("cpu", product)
    rounded = np.abs(answer_on("openvino-bf16", product) - exact).max()
    assert rounded > 100 * np.abs(answer_on("openvino", product) - exact).max()
    assert rounded < 0.05 * np.abs(exact).max()


class Misspelt(OpenVinoProvider):
    """A property that OpenVINO does not have."""

    summary: ClassVar[str] = "misspelt"

    def config(self, threads: int) -> dict[str, str]:
        return super().config(threads) | {"INFERENCE_PRECISION_HNT": "f32"}


@with_openvino
def test_a_property_that_openvino_does_not_know_is_refused_so_the_others_were_heeded(
    product: Artifact,
) -> None:
    with pytest.raises(ModelError, match="cannot load"):
        RUNNERS[Misspelt().runner]().resolve(1).open(product, Misspelt(), Path())

"""ONNX Runtime with the settings of a candidate, and where its inputs are bound."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from mlopt.errors import ModelError
from mlopt.pipeline.seal import seal
from mlopt.providers import Provider
from mlopt.providers.cpu import CpuProvider
from mlopt.providers.generic import GenericProvider
from mlopt.runners import open_stage, shown_settings
from mlopt.runners.onnxruntime import OnnxRuntimeRunner
from mlopt.serving import Binding
from mlopt.serving.device import DeviceCall
from mlopt.serving.onnx_model import OnnxSession
from mlopt.serving.shaped import MOST_SHAPES, ShapedSession
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.candidate import Stage
from mlopt.types.passes import Draft
from mlopt.types.tensors import TensorSpec

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
EXPECTED = np.maximum(X @ W, 0)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A matrix product and a ReLU, for any batch size."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
            helper.make_node("Relu", ["h"], ["y"], name="relu"),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(W, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    directory = tmp_path_factory.mktemp("artifact")
    onnx.save(model, directory / "model.onnx")
    draft = Draft(
        main="model.onnx",
        inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 4)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 2)),),
    )
    seal(directory, draft, "onnx", (LineageStep(transformation="source"),), "")
    return Artifact.open(directory)


def opened(artifact: Artifact, provider: Provider | None = None, **settings: Any) -> Any:
    runner = OnnxRuntimeRunner(**settings).resolve(2)
    return runner.open(artifact, provider or CpuProvider(), Path())


def options_of(session: OnnxSession) -> ort.SessionOptions:
    return session._session.get_session_options()


def test_the_settings_of_a_stage_reach_onnx_runtime(artifact: Artifact) -> None:
    settings = {
        "intra_op_threads": 1,
        "inter_op_threads": 2,
        "execution_mode": "parallel",
        "allow_spinning": False,
        "graph_optimization": "basic",
    }
    stage = Stage(
        artifact=str(artifact.directory), runner="onnxruntime", provider="cpu", settings=settings
    )
    session = open_stage(stage, Path())
    assert isinstance(session, OnnxSession)
    found = options_of(session)
    assert (found.intra_op_num_threads, found.inter_op_num_threads) == (1, 2)
    assert found.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert found.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    for pool in ("intra_op", "inter_op"):
        assert found.get_session_config_entry(f"session.{pool}.allow_spinning") == "0"
    np.testing.assert_allclose(session.run({"x": X})["y"], EXPECTED, rtol=1e-6)


def test_the_usual_settings_are_those_of_before_there_were_more(artifact: Artifact) -> None:
    found = options_of(opened(artifact))
    assert found.intra_op_num_threads == 2
    assert found.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert found.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    with pytest.raises(RuntimeError):  # never set
        found.get_session_config_entry("session.intra_op.allow_spinning")


def test_settings_of_an_older_run_are_read_and_shown_as_they_were() -> None:
    old = {"intra_op_threads": 2, "graph_optimization": "all"}
    assert OnnxRuntimeRunner.model_validate(old) == OnnxRuntimeRunner(intra_op_threads=2)
    assert shown_settings("onnxruntime", old) == old
    now = OnnxRuntimeRunner().resolve(2).model_dump(mode="json")
    assert shown_settings("onnxruntime", now) == old
    assert json.loads(json.dumps(now)) == now


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"allow_spinning": False}, {"allow_spinning": False}),
        ({"graph_optimization": "none"}, {"graph_optimization": "none"}),
        ({"inter_op_threads": 4}, {}),  # without effect
        ({"static_shapes": True}, {"static_shapes": True}),
        ({"execution_mode": "parallel"}, {"execution_mode": "parallel", "inter_op_threads": 2}),
    ],
)
def test_a_setting_that_is_not_as_usual_is_shown(
    changed: dict[str, Any], shown: dict[str, Any]
) -> None:
    settings = OnnxRuntimeRunner(**changed).resolve(2).model_dump(mode="json")
    usual = {"intra_op_threads": 2, "graph_optimization": "all"}
    assert shown_settings("onnxruntime", settings) == usual | shown


def shapes(session: ShapedSession) -> list[list[int | str]]:
    """The shape of the input of each session that there is."""
    return [one._session.get_inputs()[0].shape for one in session._known.values()]


def test_with_static_shapes_each_of_the_first_has_a_session_without_dynamic_axes(
    artifact: Artifact,
) -> None:
    session = opened(artifact, static_shapes=True)
    for size in (1, 3, 1, 2):
        call = session.bind({"x": X[:size]})
        call()
        np.testing.assert_allclose(session.run({"x": X[:size]})["y"], EXPECTED[:size], rtol=1e-6)
    assert shapes(session) == [[1, 4], [3, 4], [2, 4]]


def test_beyond_a_few_shapes_the_rest_share_a_session_with_dynamic_axes(
    artifact: Artifact,
) -> None:
    session = opened(artifact, static_shapes=True)
    for size in range(1, MOST_SHAPES + 3):
        x = np.ones((size, 4), np.float32)
        np.testing.assert_allclose(session.run({"x": x})["y"], np.maximum(x @ W, 0), rtol=1e-6)
    assert [shape[0] for shape in shapes(session)] == [*range(1, MOST_SHAPES + 1), "batch"]


def test_axes_are_fixed_by_the_names_that_the_file_has(artifact: Artifact, tmp_path: Path) -> None:
    model = onnx.load(artifact.main_file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, tmp_path / "model.onnx")
    inputs, outputs = artifact.manifest.inputs, artifact.manifest.outputs
    draft = Draft(main="model.onnx", inputs=inputs, outputs=outputs)
    manifest = seal(tmp_path, draft, "onnx", (LineageStep(transformation="source"),), "")
    assert manifest.axes == {"x": ("N", 4)}
    session = opened(Artifact.open(tmp_path), static_shapes=True)
    session.run({"x": X})
    assert shapes(session) == [[3, 4]]


def test_where_nothing_ran_yet_the_placement_is_that_of_any_shape(artifact: Artifact) -> None:
    session = opened(artifact, static_shapes=True)
    assert session.nodes() == opened(artifact).nodes()
    assert shapes(session) == [["batch", 4]]


@pytest.mark.parametrize("runner", ["onnxruntime", "a runner of tomorrow"])
def test_settings_that_nobody_here_knows_are_all_shown(runner: str) -> None:
    assert shown_settings(runner, {"fusion": "wild"}) == {"fusion": "wild"}


@pytest.mark.parametrize("pool", ["intra_op_threads", "inter_op_threads"])
def test_a_pool_of_no_threads_is_refused(pool: str) -> None:
    with pytest.raises(ValidationError):
        OnnxRuntimeRunner.model_validate({pool: 0})


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_cannot_start_is_not_replaced_by_the_cpu(artifact: Artifact) -> None:
    with pytest.raises(ModelError, match=r"cannot load model\.onnx on nosuch: "):
        opened(artifact, GenericProvider(runtime_name="NoSuchExecutionProvider"))


class Elsewhere(Provider):
    """The CPU, treated as a device with a memory of its own."""

    name: ClassVar[str] = "elsewhere"
    summary: ClassVar[str] = "the CPU as a device"
    install: ClassVar[str] = ""

    copies: bool = False
    replays: bool = False

    @property
    def ort_name(self) -> str:
        return "CPUExecutionProvider"

    @property
    def binding(self) -> Binding:
        return Binding("cpu", copies=self.copies, replays=self.replays)


every_binding = pytest.mark.parametrize(
    ("copies", "replays"), [(False, False), (True, False), (False, True), (True, True)]
)


@every_binding
def test_a_call_on_bound_buffers_answers_as_the_model_does(
    artifact: Artifact, copies: bool, replays: bool
) -> None:
    session = opened(artifact, Elsewhere(copies=copies, replays=replays))
    binding = Binding("cpu", copies=copies, replays=replays)
    first, second = (
        DeviceCall(session._session, {"x": x}, binding, number, nullcontext())
        for number, x in enumerate((X, X[:1] * 2), start=1)
    )
    for _ in range(2):
        answered = first(), second()
        if copies:
            assert all(one is not None for one in answered)
        else:
            assert answered == (None, None)
        np.testing.assert_allclose(first.outputs()[0], EXPECTED, rtol=1e-6)
        np.testing.assert_allclose(second.outputs()[0], EXPECTED[:1] * 2, rtol=1e-6)
    np.testing.assert_allclose(session.run({"x": X})["y"], EXPECTED, rtol=1e-6)


@pytest.mark.parametrize("copies", [True, False])
def test_each_call_has_a_graph_of_its_own_and_scoring_has_none(
    artifact: Artifact, copies: bool
) -> None:
    session = opened(artifact, Elsewhere(copies=copies, replays=True))
    calls = [session.bind({"x": X}) for _ in range(2)]
    key = "gpu_graph_id"
    assert [c._options.get_run_config_entry(key) for c in calls] == ["1", "2"]
    assert session._run_options.get_run_config_entry(key) == "-1"
    assert opened(artifact, CpuProvider())._run_options is None


def test_a_captured_inference_that_answers_otherwise_is_refused(artifact: Artifact) -> None:
    session = opened(artifact, Elsewhere(replays=True))
    ordinary = session._session.run
    session._session.run = lambda *a: [array + 0.1 for array in ordinary(*a)]
    with pytest.raises(ModelError, match="output 'y' of the captured CUDA graph differs"):
        session.bind({"x": X})


def test_inputs_of_the_host_are_copied_at_every_call(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[object] = []
    monkeypatch.setattr(ort.OrtValue, "update_inplace", lambda self, data: copied.append(data))
    session = opened(artifact)
    for copies, times in ((False, 0), (True, 3)):
        binding = Binding("cpu", copies=copies)
        call = DeviceCall(session._session, {"x": X}, binding, 1, nullcontext())
        for _ in range(3):
            call()
        assert len(copied) == times
    assert all(one is X for one in copied)

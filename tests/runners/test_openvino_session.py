"""OpenVINO by itself: its answers, its settings, and many callers at a time."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlopt.errors import ConfigError, ModelError
from mlopt.providers.cpu import CpuProvider
from mlopt.providers.openvino import OpenVinoProvider
from mlopt.runners.openvino import OpenVinoRunner
from mlopt.serving import Opening, opener
from mlopt.serving.openvino_model import OpenVinoSession
from mlopt.serving.shaped import ShapedSession
from mlopt.types.artifact import Artifact, Manifest
from mlopt.types.tensors import TensorSpec

pytest.importorskip("openvino", reason="needs the extra openvino")

W = np.random.default_rng(1).normal(size=(64, 8)).astype(np.float32)


def examples(count: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    x = np.random.default_rng(seed).normal(size=(count, 64)).astype(np.float32)
    return {"x": x, "scale": np.full((count, 1), 2, np.float32), "unused": np.zeros(3, np.float32)}


def expected(inputs: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    product: np.ndarray[Any, Any] = np.maximum(inputs["x"] @ W, 0) * inputs["scale"]
    return product


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Two outputs of two inputs, for any batch size."""
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Mul", ["r", "scale"], ["scaled"]),
            helper.make_node("Neg", ["h"], ["negated"]),
        ],
        "small",
        [
            helper.make_tensor_value_info("x", floats, ["batch", 64]),
            helper.make_tensor_value_info("scale", floats, ["batch", 1]),
        ],
        [
            helper.make_tensor_value_info("scaled", floats, ["batch", 8]),
            helper.make_tensor_value_info("negated", floats, ["batch", 8]),
        ],
        [numpy_helper.from_array(W, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    directory = tmp_path_factory.mktemp("artifact")
    onnx.save(model, directory / "model.onnx")
    return named(directory)


def named(directory: Path) -> Artifact:
    inputs = [("x", 64), ("scale", 1)]
    manifest = Manifest(
        format="onnx",
        main="model.onnx",
        files={},
        inputs=tuple(
            TensorSpec(name=name, dtype="float32", shape=("batch", size)) for name, size in inputs
        ),
        outputs=tuple(
            TensorSpec(name=name, dtype="float32", shape=("batch", 8))
            for name in ("scaled", "negated")
        ),
        lineage=(),
        key="",
    )
    return Artifact(directory=directory, manifest=manifest)


def opened(artifact: Artifact, **settings: Any) -> Any:
    return OpenVinoRunner(**settings).resolve(2).open(artifact, OpenVinoProvider(), Path())


@pytest.mark.parametrize("static", [False, True])
def test_it_answers_as_the_graph_says_for_every_batch_size(
    artifact: Artifact, static: bool
) -> None:
    session = opened(artifact, static_shapes=static)
    assert isinstance(session, ShapedSession if static else OpenVinoSession)
    for count in (1, 5, 1, 2, 3, 4, 7):
        inputs = examples(count, seed=count)
        found = session.run(inputs)
        assert list(found) == ["scaled", "negated"]
        np.testing.assert_allclose(found["scaled"], expected(inputs), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found["negated"], -inputs["x"] @ W, rtol=1e-5, atol=1e-5)
    assert session.nodes()["OpenVINOExecutionProvider"] > 0


def test_answers_stay_as_they_were_when_others_follow(artifact: Artifact) -> None:
    session = opened(artifact)
    first = session.run(examples(2, seed=1))["scaled"]
    kept = first.copy()
    session.run(examples(2, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_what_is_bound_is_read_where_it_is(artifact: Artifact) -> None:
    inputs = examples(2)
    call = opened(artifact).bind(inputs)
    call()
    inputs["x"][:] = examples(2, seed=9)["x"]
    found: Any = call()
    np.testing.assert_allclose(found[0], expected(inputs), rtol=1e-5, atol=1e-5)


def test_many_callers_get_their_own_answers(artifact: Artifact) -> None:
    session = opened(artifact)
    batches = [examples(16, seed=seed) for seed in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: session.run(one)["scaled"], batches))
    for inputs, answer in zip(batches, found, strict=True):
        np.testing.assert_allclose(answer, expected(inputs), rtol=1e-4, atol=1e-4)


def test_the_settings_reach_openvino(artifact: Artifact) -> None:
    compiled = OpenVinoRunner(intra_op_threads=1).model(artifact, OpenVinoProvider()).compiled()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert str(compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
    assert OpenVinoRunner().resolve(3).intra_op_threads == 3
    assert OpenVinoRunner(intra_op_threads=1).resolve(3).intra_op_threads == 1


def test_a_process_that_serves_opens_it_from_plain_values(artifact: Artifact) -> None:
    opening = OpenVinoRunner(static_shapes=True).opening(artifact, OpenVinoProvider(), Path())
    carried = json.loads(json.dumps(opening.arguments))
    session = opener(Opening(opening.function, carried))()
    inputs = examples(3)
    np.testing.assert_allclose(
        session.run(inputs)["scaled"], expected(inputs), rtol=1e-5, atol=1e-5
    )


def test_a_model_that_it_cannot_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"OpenVINO cannot load model\.onnx on openvino: ") as e:
        opened(named(tmp_path))
    assert "\n" not in str(e.value)


def test_an_operator_that_it_does_not_know_is_named(tmp_path: Path) -> None:
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Unheard", ["x"], ["scaled"], domain="com.microsoft")],
        "strange",
        [helper.make_tensor_value_info("x", floats, ["batch", 64])],
        [helper.make_tensor_value_info("scaled", floats, ["batch", 64])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "model.onnx"
    )
    with pytest.raises(ModelError, match=r"for operations: com\.microsoft\.Unheard$"):
        opened(named(tmp_path))


def test_inputs_that_are_missing_or_do_not_fit_are_one_line(artifact: Artifact) -> None:
    session = opened(artifact)
    with pytest.raises(ModelError, match="takes an input 'scale', which is missing"):
        session.run({"x": examples(1)["x"]})
    with pytest.raises(ModelError, match="OpenVINO cannot run the model: ") as e:
        session.run({**examples(1), "x": np.zeros((1, 63), np.float32)})
    assert "\n" not in str(e.value)
    assert "Exception from" not in str(e.value)
    np.testing.assert_allclose(
        session.run(examples(1))["scaled"], expected(examples(1)), rtol=1e-5, atol=1e-5
    )


def test_outputs_are_found_by_their_names(artifact: Artifact) -> None:
    turned = artifact.manifest.model_copy(update={"outputs": artifact.manifest.outputs[::-1]})
    found = opened(Artifact(directory=artifact.directory, manifest=turned)).run(examples(2))
    assert list(found) == ["negated", "scaled"]
    np.testing.assert_allclose(found["scaled"], expected(examples(2)), rtol=1e-5, atol=1e-5)


def test_it_runs_on_openvino_alone(artifact: Artifact) -> None:
    with pytest.raises(ConfigError, match="does not run on 'cpu'"):
        OpenVinoRunner().open(artifact, CpuProvider(), Path())

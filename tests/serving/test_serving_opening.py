"""A process that serves is told everything in plain values, and imports nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlopt.errors import ConfigError, ModelError, RunError
from mlopt.pipeline.seal import seal
from mlopt.providers.cpu import CpuProvider
from mlopt.runners import opening_of
from mlopt.serving import Opening, opener
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.artifact import LineageStep
from mlopt.types.candidate import Stage
from mlopt.types.passes import Draft
from mlopt.types.tensors import TensorSpec

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)

SERVE = """\
import json, sys
from mlopt.workers import child
from mlopt.profiling.session import TimingSession
from mlopt.profiling.load_session import LoadSession
opening, split = json.loads(sys.argv[1])
timing = TimingSession(opening, split, [1], 2)
timing.time_block(1, 3, 1, 0)
timing.leave()
LoadSession(opening, split, 1, 1, 2, 1).closed(1, 1_000_000)
heavy = {"pydantic", "torch", "onnx", "scipy", "yaml", "typer", "psutil"}
print(json.dumps([timing.describe()["nodes"], sorted(heavy & set(sys.modules))]))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An artifact: a ReLU for any batch size."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    made = tmp_path / "artifact"
    made.mkdir()
    onnx.save(model, made / "model.onnx")
    (x, y) = (TensorSpec(name=n, dtype="float32", shape=("batch", 4)) for n in ("x", "y"))
    draft = Draft(main="model.onnx", inputs=(x,), outputs=(y,))
    seal(made, draft, "onnx", (LineageStep(transformation="source"),), "")
    return made


def opening(directory: Path, **settings: object) -> Opening:
    stage = Stage(
        artifact=str(directory), runner="onnxruntime", provider="cpu", settings=dict(settings)
    )
    return opening_of(stage, Path())


@pytest.mark.parametrize("static_shapes", [False, True])
def test_a_session_is_opened_from_what_json_carries(directory: Path, static_shapes: bool) -> None:
    sent = json.loads(json.dumps(opening(directory, static_shapes=static_shapes)))
    session = opener(Opening(*sent))()
    np.testing.assert_array_equal(session.run({"x": X})["y"], np.maximum(X, 0))
    session.bind({"x": X})()
    assert session.nodes() == {"CPUExecutionProvider": 1}


def test_a_process_that_serves_onnx_runtime_imports_no_records(
    directory: Path, tmp_path: Path
) -> None:
    with SnapshotWriter(tmp_path / "split") as writer:
        writer.append({"x": X}, None)
        writer.finish()
    told = json.dumps([opening(directory), str(tmp_path / "split")])
    done = subprocess.run(
        [sys.executable, "-c", SERVE, told], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [{"CPUExecutionProvider": 1}, []]


def test_what_cannot_be_loaded_says_so(directory: Path) -> None:
    (directory / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"cannot load model\.onnx on cpu"):
        opener(opening(directory))()


def test_a_damaged_artifact_is_found_before_a_process_starts(directory: Path) -> None:
    (directory / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        opening(directory)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"intra_op_threads": 0}, "intra_op_threads"), ({"turbo": True}, "turbo")],
)
def test_a_setting_that_this_version_does_not_know_is_named(
    directory: Path, settings: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"session setting '{named}' of runner 'onnxruntime'"):
        opening(directory, **settings)


def test_code_of_a_plug_in_runs_in_the_worker_alone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Foreign(CpuProvider):
        def options(self) -> dict[str, object]:
            raise AssertionError("a plug-in ran in the process that starts workers")

    Foreign.__module__ = "somebodys_plug_in"
    monkeypatch.setattr("mlopt.runners.resolve_provider", lambda name: Foreign())
    assert opening(directory).function == "mlopt.runners:open_described"

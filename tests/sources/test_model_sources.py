"""Models that are accepted, and the contract of a model source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import GraphProto, TensorProto, helper, save_model
from torch import nn

from mlopt.frameworks.torch_module import build_module
from mlopt.sources.models import MODEL_SOURCES
from mlopt.sources.models.factory import FactoryModel, load_weights
from mlopt.sources.models.onnx_file import OnnxModel, external_files
from mlopt.store.hashing import sha256_file
from mlopt.types.tensors import TensorSpec
from mlopt.types.torch_model import TORCH_MODEL, TORCH_WEIGHTS, TorchModel

X = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
EXAMPLE = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
FACTORY = FactoryModel(factory="model:build", weights="weights.safetensors")

TIED = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(4, 4, bias=False)
        self.decode = nn.Linear(4, 4, bias=False)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return {"code": self.encode(x), "decoded": self.decode(x), "note": "not a tensor"}


def build():
    return Net()
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    directory = tmp_path / "workspace"
    directory.mkdir()
    return directory


def test_a_factory_becomes_an_artifact_without_a_pickle(project_dir, workspace: Path):
    directory = project_dir()
    draft = FACTORY.materialise(workspace, directory, (X,), ("logits",), EXAMPLE)
    assert draft.main == TORCH_MODEL
    assert draft.outputs == (TensorSpec(name="logits", dtype="float32", shape=("batch", 3)),)
    assert sorted(path.name for path in workspace.iterdir()) == [TORCH_MODEL, TORCH_WEIGHTS]
    stored = TorchModel.model_validate_json((workspace / TORCH_MODEL).read_text())
    rebuilt = build_module(stored, directory)
    load_weights(rebuilt, workspace / TORCH_WEIGHTS, "copy")
    original = build_module(stored, directory)
    load_weights(original, directory / "weights.safetensors", "original")
    x = torch.from_numpy(EXAMPLE["x"])
    assert torch.equal(rebuilt(x), original(x))


def test_the_arguments_reach_the_factory(project_dir, workspace: Path, tmp_path: Path):
    network = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 3))
    torch.save(network.state_dict(), tmp_path / "w.pt")
    directory = project_dir(files={"w.pt": (tmp_path / "w.pt").read_bytes()})
    source = FactoryModel(factory="model:build", arguments={"width": 2}, weights="w.pt")
    assert source.materialise(workspace, directory, (X,), (), EXAMPLE).facts == {
        "parameters": 19,
        "macs": 14,
    }


def test_a_model_is_run_in_evaluation_mode(project_dir, workspace: Path):
    code = (
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(1.0), nn.Linear(8, 3)).train()\n"
    )
    directory = project_dir(files={"model.py": code})
    draft = FACTORY.materialise(workspace, directory, (X,), (), EXAMPLE)
    assert [spec.name for spec in draft.outputs] == ["output"]


def test_tied_weights_and_outputs_by_name(project_dir, workspace: Path, tmp_path: Path):
    from safetensors.torch import save_file

    save_file({"encode.weight": torch.eye(4)}, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    directory = project_dir(files={"model.py": TIED, "weights.safetensors": content})
    draft = FACTORY.materialise(workspace, directory, (X,), (), EXAMPLE)
    assert [spec.name for spec in draft.outputs] == ["code", "decoded"]
    assert draft.facts == {"parameters": 16, "macs": 32}


def _onnx(path: Path, external: bool) -> None:
    nodes = [helper.make_node("Gemm", ["image", "w"], ["y"])]
    batch = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 4])]
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])]
    values = np.arange(12, dtype=np.float32)
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], values.tobytes(), raw=True)
    graph = helper.make_graph(nodes, "tiny", batch, output, [weights])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    save_model(
        model,
        str(path),
        save_as_external_data=external,
        location="weights.bin",
        size_threshold=0,
    )


@pytest.mark.parametrize("external", [False, True])
def test_an_onnx_file_is_copied_with_all_that_belongs_to_it(
    external, tmp_path: Path, workspace: Path
):
    _onnx(tmp_path / "best.onnx", external)
    source = OnnxModel(onnx="best.onnx")
    inputs = source.declared_inputs(tmp_path)
    assert inputs == (TensorSpec(name="image", dtype="float32", shape=("batch", 4)),)
    example = {"image": EXAMPLE["x"]}
    draft = source.materialise(workspace, tmp_path, inputs, (), example)
    assert draft.outputs == (TensorSpec(name="y", dtype="float32", shape=("batch", 3)),)
    found = {path.name for path in workspace.iterdir()}
    assert found == ({"model.onnx", "weights.bin"} if external else {"model.onnx"})
    session = ort.InferenceSession(workspace / draft.main, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, example)
    np.testing.assert_allclose(y, EXAMPLE["x"] @ np.arange(12).reshape(4, 3))


def test_the_files_of_an_onnx_model_change_when_only_its_external_data_does(tmp_path: Path):
    directory = tmp_path / "export"
    directory.mkdir()
    _onnx(directory / "best.onnx", external=True)
    source = OnnxModel(onnx="export/best.onnx")

    def hashes() -> dict[str, str]:
        return {k: sha256_file(tmp_path / path) for k, path in source.files(tmp_path).items()}

    assert source.files(tmp_path) == {
        "onnx": "export/best.onnx",
        "onnx, weights.bin": "export/weights.bin",
    }
    before = hashes()
    (directory / "weights.bin").write_bytes(np.ones(12, np.float32).tobytes())
    after = hashes()
    assert [key for key in before if before[key] != after[key]] == ["onnx, weights.bin"]
    (directory / "weights.bin").unlink()
    assert source.files(tmp_path) == {"onnx": "export/best.onnx"}


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n"])
def test_the_files_of_a_damaged_onnx_model_are_the_one_that_is_named(content, tmp_path: Path):
    if content is not None:
        (tmp_path / "m.onnx").write_bytes(content)
    for name in ("m.onnx", "m\0.onnx") if content is None else ("m.onnx",):
        source = OnnxModel(onnx=name)
        assert source.files(tmp_path) == {"onnx": name}
        assert [key for key, _ in source.problems(tmp_path)] == ["onnx"] * (content is None)


@pytest.mark.parametrize("location", ["../secret.bin", "w\0.bin", "w" * 5000, "", "."])
def test_external_data_that_is_no_file_beside_the_model_is_not_read(location, tmp_path: Path):
    (tmp_path / "secret.bin").write_bytes(b"secret")
    directory = tmp_path / "project"
    directory.mkdir()
    graph = _graph([_constant(location)])
    (directory / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert OnnxModel(onnx="m.onnx").files(directory) == {"onnx": "m.onnx"}


def _outside(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def _constant(location: str) -> Any:
    return helper.make_node("Constant", [], ["w"], value=_outside(location))


def _graph(nodes: list[Any], initializers: tuple[TensorProto, ...] = ()) -> GraphProto:
    return helper.make_graph(nodes, "g", [], [], list(initializers))


def test_external_data_is_found_wherever_an_onnx_model_may_have_it():
    branch = _graph([_constant("branch_constant.bin")], (_outside("branch.bin"),))
    nested = _graph([helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)])
    body = _graph([], (_outside("in_function.bin"),))
    function = helper.make_function(
        "own",
        "f",
        [],
        ["y"],
        [_constant("function.bin"), helper.make_node("Loop", ["n", "c"], ["y"], body=body)],
        [helper.make_opsetid("", 18)],
    )
    loop = helper.make_node("Loop", ["n", "c"], ["z"], body=nested)
    graph = _graph([_constant("constant.bin"), loop], (_outside("plain.bin"),))
    values, indices = _outside("values.bin"), TensorProto(data_type=TensorProto.INT64, dims=[4])
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8]))
    assert external_files(helper.make_model(graph, functions=[function])) == {
        "plain.bin",
        "values.bin",
        "constant.bin",
        "branch.bin",
        "branch_constant.bin",
        "function.bin",
        "in_function.bin",
    }


@pytest.mark.parametrize("name", sorted(MODEL_SOURCES.entries))
def test_a_model_source_is_called_like_its_file_and_like_one_of_its_keys(name):
    source = MODEL_SOURCES[name]
    assert source.__module__.split(".")[-1].startswith(name)
    assert name in source.model_fields
    assert source.summary
    assert source.produces in {"torch", "onnx"}
    for field in source.model_fields:
        assert f"{field}: " in (source.__doc__ or "")
    schema = source.model_json_schema()
    assert schema["additionalProperties"] is False
    assert name in schema["required"]


@pytest.mark.parametrize("source", [FACTORY, OnnxModel(onnx="m.onnx")])
def test_a_model_source_survives_json_and_names_its_files(source, tmp_path: Path):
    assert type(source).model_validate_json(source.model_dump_json()) == source
    assert {key for key, _ in source.problems(tmp_path)} >= set(source.files(tmp_path))

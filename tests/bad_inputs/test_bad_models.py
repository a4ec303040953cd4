"""Every way of bringing a model that does not work, and what the user is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save
from torch import nn

from mlopt.errors import ConfigError, ModelError
from mlopt.project import load_project
from mlopt.sources.models.factory import FactoryModel
from mlopt.sources.models.onnx_file import OnnxModel
from mlopt.types.passes import Draft
from mlopt.types.tensors import TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
EXAMPLE = {"x": np.ones((2, 4), np.float32)}
AGAIN = "Save it again with torch.save(model.state_dict(), ...) or as safetensors."
FITS = "Check that factory and arguments are those of the training."

Load = Callable[..., Draft]


@pytest.fixture
def load(project_dir, tmp_path: Path) -> Load:
    """Materialises the model of a tiny project with other files in it."""

    def load(
        files: dict[str, Any] | None = None,
        outputs: tuple[str, ...] = (),
        example: dict[str, Any] = EXAMPLE,
        **fields: Any,
    ) -> Draft:
        directory = project_dir(files=files)
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        given = {"factory": "model:build", "weights": "weights.safetensors", **fields}
        source = OnnxModel(**fields) if "onnx" in fields else FactoryModel(**given)
        return source.materialise(workspace, directory, (X,), outputs, example)

    return load


def _saved(content: Any, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


CHECKPOINTS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a whole pickled module": (
        lambda path: _saved(_network(), path),
        "w.pt holds pickled Python objects, and loading them would run their code. " + AGAIN,
    ),
    "a training state with objects in it": (
        lambda path: _saved({"model": _network().state_dict(), "path": path}, path),
        "w.pt holds pickled Python objects, and loading them would run their code. " + AGAIN,
    ),
    "a pickle of something else": (
        lambda path: b"\x80\x04cposix\nsystem\n.",
        "w.pt holds pickled Python objects, and loading them would run their code. " + AGAIN,
    ),
    "text": (
        lambda path: b"hello world\n",
        "w.pt is cut short or is no checkpoint (no pickle in it). " + AGAIN,
    ),
    "nothing": (
        lambda path: b"",
        "w.pt is cut short or is no checkpoint (no pickle in it). " + AGAIN,
    ),
    "safetensors under another name": (
        lambda path: save(_network().state_dict()),
        "w.pt is cut short or is no checkpoint (no pickle in it). " + AGAIN,
    ),
    "a list": (lambda path: _saved([1, 2], path), "w.pt holds no state_dict. " + AGAIN),
    "a mapping to numbers": (
        lambda path: _saved({"state_dict": {"0.weight": 1.0}}, path),
        "w.pt holds no state_dict. " + AGAIN,
    ),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_refuses_a_checkpoint_that_holds(case, load, tmp_path: Path, refuses):
    content, message = CHECKPOINTS[case]
    with refuses(ModelError, f"model.weights: {message}"):
        load({"w.pt": content(tmp_path / "content.pt")}, weights="w.pt")


def test_refuses_a_checkpoint_that_is_cut_short(load, tmp_path: Path):
    content = _saved(_network().state_dict(), tmp_path / "content.pt")
    with pytest.raises(ModelError) as caught:
        load({"w.pt": content[: len(content) // 2]}, weights="w.pt")
    message = str(caught.value)
    assert message.startswith("model.weights: w.pt is cut short or is no checkpoint (")
    assert message.endswith(AGAIN)
    assert "\n" not in message


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_takes_the_state_dict_out_of_a_training_checkpoint(key, load, tmp_path: Path):
    state = _network().state_dict()
    content = _saved({key: state, "epoch": 3} if key else state, tmp_path / "content.pt")
    assert load({"w.pt": content}, weights="w.pt").facts == {"parameters": 67, "macs": 56}


@pytest.mark.parametrize("size", [0, 4, 100, -4])
def test_refuses_safetensors_that_are_cut_short(size, load):
    content = save(_network().state_dict())[:size]
    with pytest.raises(ModelError) as caught:
        load({"w.safetensors": content}, weights="w.safetensors")
    message = str(caught.value)
    assert message.startswith("model.weights: w.safetensors is no readable safetensors file: ")
    assert message.endswith("with safetensors.torch.save_file(model.state_dict(), ...).")


def _state(**changes: torch.Tensor | None) -> bytes:
    state = {**_network().state_dict(), **{k.replace("_", "."): v for k, v in changes.items()}}
    return save({name: value for name, value in state.items() if value is not None})


STATES: dict[str, tuple[bytes, str]] = {
    "of another shape": (_state(**{"2_bias": torch.zeros(5)}), "'2.bias' is [5] and should be [3]"),
    "too few": (_state(**{"2_bias": None}), "'2.bias' is missing"),
    "too many": (_state(**{"4_bias": torch.zeros(5)}), "'4.bias' is unknown"),
    "of another model": (
        save({"conv.weight": torch.zeros(3)}),
        "'0.weight' is missing; '0.bias' is missing; '2.weight' is missing and 2 more",
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_refuses_tensors_that_are(case, load, refuses):
    content, message = STATES[case]
    with refuses(
        ModelError, f"model.weights: w.safetensors does not fit the model: {message}. {FITS}"
    ):
        load({"w.safetensors": content}, weights="w.safetensors")


FACTORY = "model.factory"

FACTORIES: dict[str, tuple[dict[str, str | None], dict[str, Any], type[Exception], str]] = {
    "whose module is missing": (
        {},
        {"factory": "modle:build"},
        ConfigError,
        f"{FACTORY}: no module 'modle' beside mlopt.yaml. Did you mean 'model'?",
    ),
    "with a module that ends in .py": (
        {},
        {"factory": "model.py:build"},
        ConfigError,
        f"{FACTORY}: no module 'model.py' beside mlopt.yaml. Did you mean 'model'?",
    ),
    "that is not in its module": (
        {},
        {"factory": "model:biuld"},
        ConfigError,
        f"{FACTORY}: 'model' has no 'biuld'. Did you mean 'build'?",
    ),
    "that needs what is not installed": (
        {"model.py": "from no_such_package.nn import Net\n"},
        {},
        ConfigError,
        f"{FACTORY}: importing 'model' failed: No module named 'no_such_package'. Install "
        "'no_such_package' beside mlopt.",
    ),
    "whose module is hidden by Python's": (
        {"types.py": "def build(): ...\n"},
        {"factory": "types:build"},
        ConfigError,
        f"{FACTORY}: 'types' is also the name of a module that Python already has, which hides "
        "the project's types.py. Rename the file.",
    ),
    "that raises": (
        {"model.py": "def build():\n    raise KeyError('width')\n"},
        {},
        ModelError,
        f"{FACTORY}: 'model:build' raised KeyError: 'width' (model.py, line 2)",
    ),
    "that raises in a file of a package": (
        {
            "nets/__init__.py": "",
            "nets/small.py": "def net():\n    return 1 / 0\n",
            "model.py": "from nets.small import net\n\n\ndef build():\n    return net()\n",
        },
        {},
        ModelError,
        f"{FACTORY}: 'model:build' raised ZeroDivisionError: division by zero (nets/small.py, "
        "line 2)",
    ),
    "that does not take its arguments": (
        {},
        {"arguments": {"depth": 3}},
        ModelError,
        f"{FACTORY}: 'model:build' raised TypeError: build() got an unexpected keyword argument "
        "'depth'",
    ),
    "that is no function": (
        {"model.py": "build = 5\n"},
        {},
        ModelError,
        f"{FACTORY}: 'model:build' raised TypeError: 'int' object is not callable",
    ),
    "that returns a state dict": (
        {"model.py": "def build():\n    return {'weight': 1}\n"},
        {},
        ModelError,
        f"{FACTORY}: 'model:build' returned a dict; it must return a torch.nn.Module.",
    ),
    "that returns the class of the module": (
        {"model.py": "from torch import nn\n\n\ndef build():\n    return nn.Identity\n"},
        {},
        ModelError,
        f"{FACTORY}: 'model:build' returned a type; it must return a torch.nn.Module.",
    ),
}


@pytest.mark.parametrize("case", FACTORIES)
def test_refuses_a_factory(case, load, refuses):
    files, fields, kind, message = FACTORIES[case]
    with refuses(kind, message):
        load(files, **fields)


FORWARD = """\
import torch
from torch import nn


class Net(nn.Sequential):
    def forward(self, x):
        y = super().forward(x)
        {body}


def build():
    return Net(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
"""

FORWARDS = {
    "raises": (
        "raise ValueError('wrong moon')",
        "model: 'model:build' does not accept the example input x float32[2, 4]: ValueError: wrong "
        "moon (model.py, line 8). Make 'inputs' and the data fit what forward expects.",
    ),
    "returns text": (
        "return 'cat'",
        "the model returned a str; it must return a tensor, a tuple of tensors or a mapping of "
        "names to tensors.",
    ),
    "returns nothing": (
        "pass",
        "the model returned a NoneType; it must return a tensor, a tuple of tensors or a mapping "
        "of names to tensors.",
    ),
    "returns an empty tuple": (
        "return ()",
        "model: it returned no tensor; it must return at least one.",
    ),
    "returns a mapping without tensors": (
        "return {'classes': ['cat']}",
        "model: it returned no tensor; it must return at least one.",
    ),
    "loses the batch axis": (
        "return y.mean(0)",
        "model: output 'output' has shape [3] for a batch of 2; the first axis of every output "
        "must be the batch.",
    ),
    "returns a loss": (
        "return {'logits': y, 'loss': y.sum()}",
        "model: output 'loss' has shape [] for a batch of 2; the first axis of every output must "
        "be the batch.",
    ),
    "returns bfloat16": (
        "return y.bfloat16()",
        "model: output 'output' has the type torch.bfloat16, which NumPy does not have. Convert it "
        "in forward, with .float() say.",
    ),
    "returns complex numbers": (
        "return y.to(torch.complex64)",
        "model: output 'output' is complex64; it must be a tensor of float32, float16, float64, "
        "int64, int32, int16, int8, uint8, bool. Convert it in the model, or leave it out of what "
        "the model returns.",
    ),
    "returns NaN": (
        "return y * float('nan')",
        "model: output 'output' is NaN for real examples. Check the weights, and that the data is "
        "scaled as in training.",
    ),
}


@pytest.mark.parametrize("case", FORWARDS)
def test_refuses_a_model_whose_forward(case, load, refuses):
    body, message = FORWARDS[case]
    with refuses(ModelError, message):
        load({"model.py": FORWARD.format(body=body)})


def test_refuses_data_that_the_model_does_not_take(load):
    with pytest.raises(ModelError) as caught:
        load(example={"x": np.ones((2, 5), np.float32)})
    message = str(caught.value)
    assert message.startswith(
        "model: 'model:build' does not accept the example input x float32[2, 5]: RuntimeError: mat1"
    )
    assert message.endswith("Make 'inputs' and the data fit what forward expects.")


def test_refuses_another_number_of_outputs_than_are_named(load, refuses):
    with refuses(ModelError, "'outputs' names 2 tensors and the model returned 1: output."):
        load(outputs=("logits", "features"))


def _onnx(
    inputs: tuple[str, ...] = ("x",),
    element: int = TensorProto.FLOAT,
    nodes: list[Any] | None = None,
    output: Any = None,
) -> bytes:
    return _graph(inputs, element, nodes, output).SerializeToString()


def _graph(
    inputs: tuple[str, ...],
    element: int = TensorProto.FLOAT,
    nodes: list[Any] | None = None,
    output: Any = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes or [helper.make_node("Identity", [inputs[0]], ["y"])],
        "tiny",
        [helper.make_tensor_value_info(name, element, ["batch", 4]) for name in inputs],
        [output or helper.make_tensor_value_info("y", element, ["batch", 4])],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def _outside(location: str) -> bytes:
    """A model whose weights are said to be in the file ``location``."""
    model = _graph(("x",), nodes=[helper.make_node("Add", ["x", "w"], ["y"])])
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    model.graph.initializer.append(weights)
    return bytes(model.SerializeToString())


SEQUENCE = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)

ONNX: dict[str, tuple[bytes, str]] = {
    "that is empty": (
        b"",
        "model.onnx: m.onnx holds no graph: it is empty, cut short or no ONNX model. Export or "
        "copy it again.",
    ),
    "whose inputs have other names": (
        _onnx(("image",)),
        "model.onnx: m.onnx has the inputs image; 'inputs' in mlopt.yaml says x. Use its names, or "
        "leave 'inputs' out.",
    ),
    "with an input more": (
        _onnx(("x", "mask")),
        "model.onnx: m.onnx has the inputs x, mask; 'inputs' in mlopt.yaml says x. Use its names, "
        "or leave 'inputs' out.",
    ),
    "whose weights are in a file that was not copied": (
        _outside("weights.bin"),
        "model.onnx: m.onnx keeps weights in 'weights.bin', and there is no such file in its "
        "directory. Copy both together.",
    ),
    "that would read outside of its directory": (
        _outside("../../secret.bin"),
        "model.onnx: m.onnx keeps weights in '../../secret.bin', and there is no such file in its "
        "directory. Copy both together.",
    ),
    "that returns no tensor": (
        _onnx(nodes=[helper.make_node("SequenceConstruct", ["x"], ["y"])], output=SEQUENCE),
        "model: output 'y' is list; it must be a tensor of float32, float16, float64, int64, "
        "int32, int16, int8, uint8, bool. Convert it in the model, or leave it out of what the "
        "model returns.",
    ),
    "that loses the batch axis": (
        _onnx(
            nodes=[helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)],
            output=helper.make_tensor_value_info("y", TensorProto.FLOAT, []),
        ),
        "model: output 'y' has shape [] for a batch of 2; the first axis of every output must be "
        "the batch.",
    ),
}


@pytest.mark.parametrize("case", ONNX)
def test_refuses_an_onnx_file(case, load, refuses):
    content, message = ONNX[case]
    with refuses(ModelError, message):
        load({"m.onnx": content}, onnx="m.onnx")


BEGINNINGS: dict[str, tuple[bytes, str]] = {
    "is cut short": (_onnx()[:-7], "model.onnx: m.onnx is cut short or is no ONNX model ("),
    "is something else": (b"\x89PNG\r\n", "model.onnx: m.onnx is cut short or is no ONNX model ("),
    "has an unknown operator": (
        _onnx(nodes=[helper.make_node("Frobnicate", ["x"], ["y"])]),
        "model.onnx: m.onnx is no valid ONNX model: ",
    ),
    "takes another dtype": (
        _onnx(element=TensorProto.INT64),
        "model.onnx: m.onnx does not accept the example input x float32[2, 4]: ",
    ),
}


@pytest.mark.parametrize("case", BEGINNINGS)
def test_refuses_an_onnx_file_that(case, load):
    content, beginning = BEGINNINGS[case]
    with pytest.raises(ModelError) as caught:
        load({"m.onnx": content}, onnx="m.onnx")
    message = str(caught.value)
    assert message.startswith(beginning)
    assert message.endswith(("it again.", "fit the model."))
    assert "\n" not in message


def test_refuses_other_names_for_the_outputs_of_an_onnx_file(load, refuses):
    with refuses(
        ModelError,
        "model.onnx: m.onnx has the outputs y; 'outputs' in mlopt.yaml says logits. Leave "
        "'outputs' out: an ONNX model names its own.",
    ):
        load({"m.onnx": _onnx()}, outputs=("logits",), onnx="m.onnx")


DECLARED: dict[str, tuple[bytes, str]] = {
    "is empty": (
        b"",
        "mlopt.yaml: model.onnx: m.onnx holds no graph: it is empty, cut short or no ONNX model. "
        "Export or copy it again.",
    ),
    "takes text": (
        _onnx(element=TensorProto.STRING),
        "mlopt.yaml: model.onnx: the input 'x' is no tensor of numbers that NumPy has. Export the "
        "model with float32 or int64 inputs.",
    ),
    "takes bfloat16": (
        _onnx(element=TensorProto.BFLOAT16),
        "mlopt.yaml: model.onnx: the input 'x' is no tensor of numbers that NumPy has. Export the "
        "model with float32 or int64 inputs.",
    ),
}


@pytest.mark.parametrize("case", DECLARED)
def test_the_project_is_refused_when_its_inputs_are_to_be_read_from_an_onnx_file_that(
    case, project_dir, refuses
):
    content, message = DECLARED[case]
    changes = {"model": {"onnx": "m.onnx"}, "inputs": ..., "outputs": ...}
    with refuses(ConfigError, message):
        load_project(project_dir(changes, files={"m.onnx": content}))

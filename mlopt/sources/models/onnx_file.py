"""An ONNX file."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlopt.errors import ModelError
from mlopt.sources.models._base import ModelSource, output_specs
from mlopt.sources.paths import missing_file
from mlopt.types.artifact import Format
from mlopt.types.passes import Draft
from mlopt.types.tensors import BATCH, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime as ort


class OnnxModel(ModelSource):
    """A model that is ONNX already; external data is found beside it.

    Attributes:
        onnx: The ``.onnx`` file.
    """

    name: ClassVar[str] = "onnx"
    summary: ClassVar[str] = "an .onnx file"
    produces: ClassVar[Format] = "onnx"

    onnx: str

    def files(self, project_dir: Path) -> dict[str, str]:
        """The file, and those with its external data as far as they can be read."""
        files = {"onnx": self.onnx}
        if missing_file(project_dir, self.onnx) is not None:
            return files
        try:
            names = external_files(read_onnx(project_dir / self.onnx, self.onnx))
        except ModelError:  # materialise says so, when the model is needed
            return files
        beside = Path(self.onnx).parent
        for name in sorted(names):
            if _is_beside((project_dir / self.onnx).parent, name):
                files[f"onnx, {name}"] = (beside / name).as_posix()
        return files

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """Whether the file is there; it is not opened, as it may be large."""
        if (problem := missing_file(project_dir, self.onnx)) is not None:
            yield "onnx", problem

    def declared_inputs(self, project_dir: Path) -> tuple[TensorSpec, ...]:
        """Inputs of the graph that are not initializers; the first axis is the batch.

        Raises:
            ModelError: The file is damaged, or an input has a type that mlopt does not know.
        """
        model = read_onnx(project_dir / self.onnx, self.onnx)
        constant = {tensor.name for tensor in model.graph.initializer}
        return tuple(_spec(value) for value in model.graph.input if value.name not in constant)

    def materialise(
        self,
        workspace: Path,
        project_dir: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[str, ...],
        example: Mapping[str, np.ndarray[Any, Any]],
    ) -> Draft:
        """Checks the file, copies it with its external data, and runs it once.

        Raises:
            ModelError: It is damaged, or does not accept the example.
        """
        _copy(project_dir / self.onnx, self.onnx, workspace)
        session = _open(workspace / "model.onnx", self.onnx)
        graph_inputs = [value.name for value in session.get_inputs()]
        if set(graph_inputs) != set(example):
            raise ModelError(
                f"model.onnx: {self.onnx} has the inputs {', '.join(graph_inputs)}; 'inputs' in "
                f"mlopt.yaml says {', '.join(example)}. Use its names, or leave 'inputs' out."
            )
        names = [output.name for output in session.get_outputs()]
        if outputs and list(outputs) != names:
            raise ModelError(
                f"model.onnx: {self.onnx} has the outputs {', '.join(names)}; 'outputs' in mlopt.yaml "
                f"says {', '.join(outputs)}. Leave 'outputs' out: an ONNX model names its own."
            )
        try:
            found = dict(zip(names, session.run(None, dict(example)), strict=True))
        except Exception as e:
            shapes = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in example.items())
            raise ModelError(
                f"model.onnx: {self.onnx} does not accept the example input {shapes}: "
                f"{_first_line(e)} Make 'inputs' and the data fit the model."
            ) from e
        batch = len(next(iter(example.values())))
        return Draft(main="model.onnx", inputs=inputs, outputs=output_specs(found, batch))


def _copy(path: Path, shown: str, workspace: Path) -> None:
    """Copies the model and its external data, which must lie beside it or below."""
    shutil.copyfile(path, workspace / "model.onnx")
    for name in sorted(external_files(read_onnx(path, shown))):
        if not _is_beside(path.parent, name):
            raise ModelError(
                f"model.onnx: {shown} keeps weights in '{name}', and there is no such file in its "
                "directory. Copy both together."
            )
        target = workspace / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, target)


def _is_beside(directory: Path, name: str) -> bool:
    """Whether ``name`` is a file in ``directory`` or below."""
    try:
        inside = (directory / name).resolve().is_relative_to(directory.resolve())
        return inside and (directory / name).is_file()
    except (OSError, ValueError):  # too long for the file system, or with a null byte in it
        return False


def _open(path: Path, shown: str) -> ort.InferenceSession:
    import onnx
    import onnxruntime as ort

    try:
        onnx.checker.check_model(str(path))
        return ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as e:
        raise ModelError(
            f"model.onnx: {shown} is no valid ONNX model: {_first_line(e)} Export it again."
        ) from e


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        sizes = [
            d.dim_value or d.dim_param or f"{value.name}_{i}"
            for i, d in enumerate(tensor.shape.dim)
        ]
        if sizes and isinstance(sizes[0], str):
            sizes[0] = BATCH
        return TensorSpec.model_validate({"name": value.name, "dtype": dtype, "shape": sizes})
    except (KeyError, ValueError) as e:
        raise ModelError(
            f"model.onnx: the input '{value.name}' is no tensor of numbers that NumPy has. Export the "
            "model with float32 or int64 inputs."
        ) from e


def read_onnx(path: Path, shown: str) -> onnx.ModelProto:
    """Reads the graph without its external data.

    Raises:
        ModelError: The file is cut short or is no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as e:
        raise ModelError(
            f"model.onnx: {shown} is cut short or is no ONNX model ({e}). Export or copy it again."
        ) from e
    if not model.graph.node:
        raise ModelError(
            f"model.onnx: {shown} holds no graph: it is empty, cut short or no ONNX model. "
            "Export or copy it again."
        )
    return model


def external_files(model: onnx.ModelProto) -> set[str]:
    """Names of the files that hold a model's external data."""
    from onnx.external_data_helper import uses_external_data

    scopes = (model.graph, *model.functions)
    return {
        entry.value
        for tensor in itertools.chain.from_iterable(map(_tensors, scopes))
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _tensors(scope: onnx.GraphProto | onnx.FunctionProto) -> Iterable[onnx.TensorProto]:
    """Every constant of a graph or function: initializers, node attributes, and in subgraphs."""
    yield from getattr(scope, "initializer", ())
    for sparse in getattr(scope, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    defaults = getattr(scope, "attribute_proto", ())  # of a function's attributes
    for attribute in itertools.chain(defaults, *(node.attribute for node in scope.node)):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors(graph)

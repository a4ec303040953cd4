"""From PyTorch to ONNX, with proof that both answer the same."""

from __future__ import annotations

import contextlib
import io
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from mlopt.errors import BuildError
from mlopt.passes._onnx import EXTERNAL_DATA_FROM_BYTES, forget_origins
from mlopt.passes._optimum import export_with_optimum
from mlopt.passes._parity import Answer, check_parity, parity_batches
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext
from mlopt.types.tensors import BATCH, TensorSpec, fixed_batch
from mlopt.types.torch_model import TorchModel
from mlopt.workers.usercode import describe

if TYPE_CHECKING:
    import numpy as np
    import torch

    Arrays = Mapping[str, np.ndarray[Any, Any]]

Exporter = Literal["optimum", "dynamo", "torchscript"]


class ExportOnnx(Pass):
    """Exports with the first exporter that neither fails nor answers otherwise than PyTorch.

    Attributes:
        exporter: ``auto`` tries optimum's for a model of transformers, then torch's dynamo
            exporter, then the TorchScript one, and records which one ran.
        opset: Version of the ONNX operator set.
    """

    name: ClassVar[str] = "export_onnx"
    summary: ClassVar[str] = "PyTorch to ONNX, checked against PyTorch on real examples"
    consumes: ClassVar[Format] = "torch"
    produces: ClassVar[Format] = "onnx"
    splits: ClassVar[tuple[str, ...]] = ("selection",)
    libraries: ClassVar[tuple[str, ...]] = (
        "torch", "onnx", "onnxscript", "onnxruntime", "transformers", "optimum", "optimum-onnx",
    )  # fmt: skip

    exporter: Literal["auto", "optimum", "dynamo", "torchscript"] = "auto"
    opset: Annotated[int, Field(ge=13, le=24)] = 18

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Exports, with the first exporter whose model answers as PyTorch does.

        Raises:
            BuildError: There is none; the message has the reason of each.
        """
        from mlopt.frameworks.torch_module import load_module

        module, model = load_module(artifact, context.project_dir)
        manifest = artifact.manifest
        example = _example(context, manifest.inputs)
        answers = pytorch_answers(module, model.outputs, manifest.inputs, context)
        path = context.workspace / "model.onnx"
        tried: dict[str, str] = {}
        failure: Exception | None = None
        for exporter in self._order(module, model):
            context.emit(f"exporting with the {exporter} exporter")
            try:
                if exporter == "optimum":
                    export_with_optimum(module, model, self.opset, path)
                else:
                    self._export(exporter, module, manifest.inputs, model.outputs, example, path)
                context.emit("comparing with PyTorch")
                facts = check_parity(path, answers)
            except Exception as e:  # noqa: BLE001  # exporters and ONNX Runtime raise anything
                tried[exporter] = _reason(e)
                failure = e.with_traceback(None)  # its frames hold the session and its weights
                _clear(context.workspace)
                continue
            facts |= {"exporter": exporter, "opset": self.opset}
            if tried:
                facts["fallback_because"] = tried
            return Draft(
                main="model.onnx", inputs=manifest.inputs, outputs=manifest.outputs, facts=facts
            )
        reasons = "; ".join(f"{name}: {reason}" for name, reason in tried.items())
        raise BuildError(f"no exporter can export the model ({reasons})") from failure

    def _order(self, module: torch.nn.Module, model: TorchModel) -> tuple[Exporter, ...]:
        from mlopt.frameworks.huggingface import task_of

        if self.exporter != "auto":
            return (self.exporter,)
        of_transformers = task_of(module, model.huggingface) is not None
        return get_args(Exporter) if of_transformers else ("dynamo", "torchscript")

    def _export(
        self,
        exporter: Literal["dynamo", "torchscript"],
        module: torch.nn.Module,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[str, ...],
        example: Arrays,
        path: Path,
    ) -> None:
        import torch

        from mlopt.frameworks.torch_module import arguments_for, as_tensors

        positional, named = arguments_for(module, as_tensors(example))
        axes = {
            spec.name: {i: size for i, size in enumerate(spec.shape) if isinstance(size, str)}
            for spec in inputs
        }
        weights = sum(p.numel() * p.element_size() for p in module.parameters())
        options: dict[str, Any] = {
            "input_names": [spec.name for spec in inputs],
            "output_names": list(outputs),
            "opset_version": self.opset,
            "verbose": False,
        }
        apart = weights > EXTERNAL_DATA_FROM_BYTES
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            if exporter == "dynamo":
                options |= {"dynamo": True, "dynamic_shapes": _dynamic_shapes(axes, bool(named))}
                program = torch.onnx.export(module, positional, kwargs=named or None, **options)
                assert program is not None, "the dynamo exporter returns what it made"
                forget_origins(program.model)
                program.save(path, external_data=apart)
            else:
                every = {**axes, **{name: {0: BATCH} for name in outputs if any(axes.values())}}
                options |= {"dynamo": False, "dynamic_axes": every, "external_data": apart}
                torch.onnx.export(module, positional, path, kwargs=named or None, **options)


def _dynamic_shapes(axes: dict[str, dict[int, str]], by_name: bool) -> Any:
    """The dynamic axes as torch.export takes them; axes of one name are one dimension."""
    import torch

    dims = {name: torch.export.Dim(name) for one in axes.values() for name in one.values()}
    shapes = {name: {i: dims[axis] for i, axis in one.items()} for name, one in axes.items()}
    return shapes if by_name else tuple(shapes.values())


def _example(context: PassContext, inputs: tuple[TensorSpec, ...]) -> Arrays:
    """A real batch of two: exporters take a size of one for a constant."""
    return next(iter(context.data("selection", fixed_batch(inputs) or 2)))


def pytorch_answers(
    module: torch.nn.Module,
    outputs: tuple[str, ...],
    inputs: tuple[TensorSpec, ...],
    context: PassContext,
) -> list[Answer]:
    """What PyTorch answers to real examples, in several sizes and lengths where these are dynamic.

    Raises:
        BuildError: The module does not take a batch of one of the sizes.
    """
    import torch

    from mlopt.frameworks.torch_module import as_tensors, call_module, name_outputs

    answers = []
    for batch in parity_batches(inputs, context):
        try:
            with torch.inference_mode():
                found = name_outputs(call_module(module, as_tensors(batch)), outputs)
        except Exception as e:
            raise BuildError(
                f"the PyTorch model fails on {_shown(batch)}: {describe(e, context.project_dir)}. "
                "If it takes one batch size only, make that the first size of each of the 'inputs'."
            ) from e
        answers.append(Answer(batch, {name: found[name].numpy() for name in outputs}))
    return answers


def _shown(batch: Arrays) -> str:
    return f"a batch of {len(next(iter(batch.values())))}"


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0][:200] if lines else ""
    return first if isinstance(error, BuildError) else f"{type(error).__name__}: {first}"


def _clear(directory: Path) -> None:
    """Removes what a failed export left behind."""
    for leftover in directory.iterdir():
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()

"""Export of a Hugging Face model the way optimum knows it: its inputs, its axes, its patches."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.errors import BuildError
from mlopt.types.torch_model import TorchModel

if TYPE_CHECKING:
    import onnx
    import torch


def export_with_optimum(module: torch.nn.Module, model: TorchModel, opset: int, path: Path) -> None:
    """Exports a model of transformers, pruned or not.

    Args:
        module: In evaluation mode.
        model: Says what it is used for, and how its outputs are called.
        opset: Version of the ONNX operator set.
        path: The file; weights that do not fit in it go beside it.

    Raises:
        BuildError: It is no model of transformers, or optimum does not know this kind.
    """
    from mlopt.frameworks.huggingface import task_of
    from mlopt.frameworks.optimum_config import onnx_config

    task = task_of(module, model.huggingface)
    if task is None:
        raise BuildError("optimum exports models of transformers only")
    config: Any = module.config
    description = onnx_config(config, task)
    if description is None:
        raise BuildError(f"optimum does not know how to export a '{config.model_type}'")
    from optimum.exporters.onnx import export

    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            _, names = export(module, description, path, opset=opset)
    finally:
        vars(module).pop("forward", None)  # optimum leaves its patch on the instance
    if list(names) != list(model.outputs):
        _rename_outputs(path, names, model.outputs)


def _rename_outputs(path: Path, names: list[str], wanted: tuple[str, ...]) -> None:
    """Gives the outputs of a file the names that the project says."""
    import onnx

    if len(names) != len(wanted):
        raise BuildError(
            f"optimum exports the outputs {', '.join(names)}, and the model returns "
            f"{', '.join(wanted)}"
        )
    file = onnx.load(str(path), load_external_data=False)
    renamed = dict(zip(names, wanted, strict=True))
    for value in file.graph.output:
        value.name = renamed[value.name]
    for node in file.graph.node:
        _rename(node, renamed)
    onnx.save(file, str(path))


def _rename(node: onnx.NodeProto, renamed: dict[str, str]) -> None:
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            names[i] = renamed.get(name, name)

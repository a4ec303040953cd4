"""The pruned model as it is stored: loads to the same bits, trains, exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlopt.errors import BuildError
from mlopt.frameworks.torch_module import call_module, load_module
from mlopt.types.artifact import Artifact
from mlopt.types.passes import PassContext
from mlopt.workers.usercode import describe

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]


def check_training_mode(
    source: Artifact, stored: Artifact, batch: Tensors, context: PassContext
) -> None:
    """Requires that forward runs in training mode too, where it did so before.

    Raises:
        BuildError: Only the pruned one fails: it has a part that is used in training alone.
    """
    import torch

    whole, _ = load_module(source, context.project_dir)
    pruned, _ = load_module(stored, context.project_dir)
    try:
        with torch.no_grad():
            call_module(whole.train(), batch)
    except Exception:  # noqa: BLE001  # it was so before
        return
    try:
        with torch.no_grad():
            call_module(pruned.train(), batch)
    except Exception as e:
        raise BuildError(
            "the pruned model runs in evaluation mode and fails in training mode: "
            f"{describe(e, context.project_dir)}"
        ) from e


def check_export(stored: Artifact, context: PassContext) -> dict[str, Any]:
    """Exports the stored model to ONNX and compares the answers, before time is spent on training.

    Returns:
        Facts: what the exporter says.

    Raises:
        BuildError: No exporter can export it.
    """
    from mlopt.passes.export_onnx import ExportOnnx

    elsewhere = _Elsewhere(context)
    return ExportOnnx().apply(stored, elsewhere).facts


class _Elsewhere:
    """The surroundings of a pass, with another directory for what it makes."""

    def __init__(self, context: PassContext) -> None:
        self._context = context
        self.workspace = context.scratch()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

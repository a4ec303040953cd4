"""The pruned model as it is stored: loads to the same bits, trains, exports."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlopt.errors import BuildError, MloptError
from mlopt.frameworks.torch_module import call_module, load_module, name_outputs, save_module
from mlopt.types.artifact import Artifact, Manifest
from mlopt.types.passes import PassContext
from mlopt.types.torch_model import ASSETS, TorchModel
from mlopt.workers.usercode import describe

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]


def stored_copy(
    module: torch.nn.Module, model: TorchModel, source: Artifact, context: PassContext
) -> Artifact:
    """The module as an artifact in a scratch directory, with the assets that it will have.

    Args:
        module: Pruned.
        model: How it is rebuilt.
        source: What it was made of.
        context: Gives the directory.
    """
    directory = context.scratch()
    main = save_module(module, model, directory)
    if (source.directory / ASSETS).is_dir():
        shutil.copytree(source.directory / ASSETS, directory / ASSETS)
    manifest = Manifest(
        format="torch",
        main=main,
        files={},
        inputs=source.manifest.inputs,
        outputs=source.manifest.outputs,
        lineage=source.manifest.lineage,
        key="",
    )
    return Artifact(directory=directory, manifest=manifest)


def check_reload(
    module: torch.nn.Module, stored: Artifact, batches: Sequence[Tensors], context: PassContext
) -> None:
    """Requires that the stored model loads and answers with the same bits.

    Raises:
        BuildError: It does not.
    """
    import torch

    try:
        again, model = load_module(stored, context.project_dir)
        for batch in batches:
            with torch.inference_mode():
                wanted = name_outputs(call_module(module, batch), model.outputs)
                found = name_outputs(call_module(again, batch), model.outputs)
            for name, answer in wanted.items():
                if not torch.equal(answer, found[name]):
                    raise BuildError(
                        f"the pruned model answers otherwise in '{name}' when it is loaded again: the "
                        "factory keeps something that depends on the widths of its layers and is "
                        "neither a parameter, a buffer nor an integer attribute"
                    )
    except BuildError:
        raise
    except Exception as e:
        reason = str(e) if isinstance(e, MloptError) else describe(e, context.project_dir)
        raise BuildError(f"the pruned model does not load again: {reason}") from e


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

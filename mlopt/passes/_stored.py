"""A model as it is stored: loads to the same bits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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
        module: Pruned, or trained.
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
                wanted = name_outputs(call_module(module, _copied(batch)), model.outputs)
                found = name_outputs(call_module(again, _copied(batch)), model.outputs)
            for name, answer in wanted.items():
                if not torch.equal(answer, found[name]):
                    raise BuildError(
                        f"the model answers otherwise in '{name}' when it is loaded again: it keeps "
                        "something that is not stored, random tensors that are no persistent buffers, "
                        "say, or what depends on the widths of its layers and is no integer. Register "
                        "it as a persistent buffer"
                    )
    except BuildError:
        raise
    except Exception as e:
        reason = str(e) if isinstance(e, MloptError) else describe(e, context.project_dir)
        raise BuildError(f"the model does not load again: {reason}") from e


def _copied(batch: Tensors) -> Tensors:
    """The same batch, for a forward that may work in place on what it is given."""
    return {name: tensor.clone() for name, tensor in batch.items()}

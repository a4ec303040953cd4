"""PyTorch modules: rebuilt from an artifact, called by name, their outputs named."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.errors import ModelError
from mlopt.frameworks.surgery import apply_changes
from mlopt.types.artifact import Artifact
from mlopt.types.torch_model import ASSETS, TORCH_MODEL, TORCH_WEIGHTS, TorchModel
from mlopt.workers.usercode import describe, load_object

if TYPE_CHECKING:
    import numpy as np
    import torch

    Arrays = Mapping[str, np.ndarray[Any, Any]]


def load_module(artifact: Artifact, project_dir: Path) -> tuple[torch.nn.Module, TorchModel]:
    """Rebuilds the module of a torch artifact: factory, pruning, weights; in evaluation mode.

    Raises:
        ModelError: The factory raises, or the weights do not fit.
    """
    from safetensors.torch import load_model

    model = TorchModel.model_validate_json(artifact.main_file.read_bytes())
    module = fresh_module(model, artifact.directory, project_dir)
    apply_changes(module, model.changes)
    try:
        load_model(module, artifact.directory / TORCH_WEIGHTS)
    except RuntimeError as e:
        raise ModelError(f"the weights no longer fit '{_shown(model)}': {e}") from e
    return module.eval(), model


def save_module(module: torch.nn.Module, model: TorchModel, workspace: Path) -> str:
    """Writes a module as the files of a torch artifact.

    Args:
        module: Its weights are written.
        model: How the module is rebuilt.
        workspace: Directory of the artifact to be.

    Returns:
        The main file, relative to ``workspace``.
    """
    from safetensors.torch import save_model

    save_model(module, str(workspace / TORCH_WEIGHTS))
    (workspace / TORCH_MODEL).write_text(model.model_dump_json(indent=1), encoding="utf-8")
    return TORCH_MODEL


def fresh_module(model: TorchModel, directory: Path, project_dir: Path) -> torch.nn.Module:
    """The module before pruning and without its weights.

    Args:
        model: How to build it.
        directory: Of the artifact.
        project_dir: Where the factory is imported from.

    Raises:
        ModelError: The factory raises, or returns no ``torch.nn.Module``.
    """
    if model.huggingface is not None:
        from mlopt.frameworks.huggingface import build_module as build_of_transformers

        return build_of_transformers(directory / ASSETS, model.huggingface)
    return build_module(model, project_dir)


def build_module(
    model: TorchModel, project_dir: Path, place: str = "model.factory"
) -> torch.nn.Module:
    """Calls the factory.

    Args:
        model: Names the factory.
        project_dir: Where it is imported from.
        place: Where in mlopt.yaml it stands, for messages.

    Raises:
        ModelError: It raises, or returns no ``torch.nn.Module``.
    """
    import torch

    assert model.factory is not None, "a model without a factory is one of transformers"
    factory = load_object(model.factory, project_dir, place)
    try:
        module = factory(**model.arguments)
    except Exception as e:
        raise ModelError(f"{place}: '{model.factory}' raised {describe(e, project_dir)}") from e
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"{place}: '{model.factory}' returned a {type(module).__name__}; "
            "it must return a torch.nn.Module."
        )
    return module


def _shown(model: TorchModel) -> str:
    return model.factory or "the configuration"


def as_tensors(inputs: Arrays) -> dict[str, torch.Tensor]:
    """Tensors that share memory with the arrays (read-only ones are copied)."""
    import torch

    return {
        name: torch.from_numpy(array if array.flags.writeable else array.copy())
        for name, array in inputs.items()
    }


def call_module(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Calls ``module``: by name where ``forward`` has these parameters, else in their order."""
    positional, named = arguments_for(module, tensors)
    return module(*positional, **named)


def arguments_for(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Positional and named arguments of a call: by name where ``forward`` has these parameters."""
    if takes_names(module, tensors):
        return (), dict(tensors)
    return tuple(tensors.values()), {}


def takes_names(module: torch.nn.Module, names: Mapping[str, object]) -> bool:
    """Whether every one of ``names`` is a parameter of ``module.forward``."""
    return set(names) <= set(inspect.signature(module.forward).parameters)


def name_outputs(outputs: Any, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Names what ``forward`` returned: a tensor, a tuple or list of them, or a mapping.

    Raises:
        ModelError: It returned anything else, or another number than there are ``names``.
    """
    import torch

    if isinstance(outputs, torch.Tensor):
        found = {"output": outputs}
    elif isinstance(outputs, Mapping):
        found = {str(k): v for k, v in outputs.items() if isinstance(v, torch.Tensor)}
    elif isinstance(outputs, tuple | list) and all(isinstance(o, torch.Tensor) for o in outputs):
        found = {f"output_{i}": value for i, value in enumerate(outputs)}
    else:
        raise ModelError(
            f"the model returned a {type(outputs).__name__}; it must return a tensor, a tuple of "
            "tensors or a mapping of names to tensors."
        )
    if names and len(names) != len(found):
        raise ModelError(
            f"'outputs' names {len(names)} tensors and the model returned {len(found)}: "
            f"{', '.join(found)}."
        )
    return dict(zip(names or found, found.values(), strict=True))

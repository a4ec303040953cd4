"""What an interrupted training goes on from: one file, replaced as a whole after each epoch.

Safetensors for the tensors, JSON in its header for the rest; nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

NOTES = "mlopt"


class Checkpoint(NamedTuple):
    """The state between two epochs.

    Attributes:
        tensors: By name.
        notes: All else, as JSON.
    """

    tensors: Tensors
    notes: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint, identity: str) -> None:
    """Replaces ``path`` in one step.

    Args:
        path: Of the file.
        checkpoint: What it will hold.
        identity: Of the training that it belongs to.
    """
    from safetensors.torch import save_file

    notes = {
        "identity": identity,
        "digest": digest(checkpoint.tensors),
        "notes": checkpoint.notes,
    }
    temporary = path.with_name(f".{path.name}.tmp")  # one file: a kill leaves no second one behind
    save_file(checkpoint.tensors, temporary, metadata={NOTES: json.dumps(notes)})
    temporary.replace(path)


def read_checkpoint(path: Path, identity: str) -> Checkpoint | str | None:
    """Reads what :func:`write_checkpoint` wrote.

    Returns:
        None where there is nothing; why it cannot be used, where it is damaged or of another
        training.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            stored = json.loads((file.metadata() or {})[NOTES])
            tensors: dict[str, torch.Tensor] = {
                name: file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118  # no mapping
            }
        if stored["identity"] != identity:
            return "the checkpoint is of another training, and is not used"
        if stored["digest"] != digest(tensors):
            return "the checkpoint is damaged, and is not used"
        return Checkpoint(tensors, stored["notes"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return "the checkpoint cannot be read, and is not used"


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """A hash over names, types, shapes and bits."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def tensors_of(module: torch.nn.Module) -> Tensors:
    """All parameters and buffers by name, what is tied once; also buffers that are not saved."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def state_of(module: torch.nn.Module) -> Tensors:
    """Copies of :func:`tensors_of`."""
    import torch

    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors_of(module).items()
    }


def put_state(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Copies what :func:`state_of` gave back into the module."""
    import torch

    with torch.no_grad():
        for name, tensor in tensors_of(module).items():
            tensor.copy_(state[name])


def optimizer_state(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's tensors, named ``<parameter's number>/<name>``."""
    import torch

    return {
        f"{number}/{name}": value.detach().clone(memory_format=torch.contiguous_format)
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }


def put_optimizer_state(optimizer: torch.optim.Optimizer, state: Tensors) -> None:
    """Gives a fresh optimizer what :func:`optimizer_state` gave."""
    values: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in state.items():
        number, _, name = key.partition("/")
        values.setdefault(int(number), {})[name] = tensor.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": values, "param_groups": groups})


def under(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors with a prefix to their names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def within(prefix: str, tensors: Tensors) -> Tensors:
    """The inverse of :func:`under`: those with the prefix, without it."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

"""What pruning did to a module, as data: read from a pruned one, replayed on a fresh one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlopt.errors import ModelError
from mlopt.types.torch_model import ModuleChange

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import torch


def changes_between(
    before: torch.nn.Module, after: torch.nn.Module, only: Collection[str] | None = None
) -> tuple[ModuleChange, ...]:
    """Every module whose sizes differ: the integers that it keeps, and the shapes of its tensors.

    Args:
        before: As the factory returns it.
        after: The same modules by name, pruned.
        only: Names of the modules whose integers count; None: all. Elsewhere forward may have changed
            them, such as a count of its calls.

    Raises:
        ModelError: The two do not have the same modules, or a module's tensors are others.
    """
    fresh = dict(before.named_modules())
    pruned = dict(after.named_modules())
    if set(fresh) != set(pruned):
        odd = ", ".join(sorted(set(fresh) ^ set(pruned))[:3])
        raise ModelError(
            f"pruning changed which modules there are ({odd}); it may only shrink them"
        )
    found = []
    for name, module in pruned.items():
        attributes = {
            key: value
            for key, value in _sizes(module).items()
            if (only is None or name in only) and _sizes(fresh[name]).get(key) != value
        }
        own, old = _tensors(module), _tensors(fresh[name])
        if set(own) != set(old):
            odd = ", ".join(sorted(set(own) ^ set(old)))
            raise ModelError(f"pruning changed which tensors '{name}' has: {odd}")
        shapes = {key: tuple(t.shape) for key, t in own.items() if t.shape != old[key].shape}
        if attributes or shapes:
            found.append(ModuleChange(module=name, attributes=attributes, shapes=shapes))
    return tuple(found)


def apply_changes(module: torch.nn.Module, changes: Iterable[ModuleChange]) -> None:
    """Gives a fresh module the sizes of a pruned one; its tensors are then to be loaded.

    A tensor that several modules share stays shared when each of them lists the same new shape.

    Raises:
        ModelError: A module or tensor that was changed does not exist: the factory has changed.
    """
    import torch

    modules = dict(module.named_modules())
    replaced: dict[int, torch.Tensor] = {}
    for change in changes:
        target = modules.get(change.module)
        if target is None:
            raise ModelError(
                f"the model was pruned in its module '{change.module}', which the factory no longer makes. "
                "Give it the code that it was pruned with."
            )
        for key, value in change.attributes.items():
            setattr(target, key, value)
        for key, shape in change.shapes.items():
            old = target._parameters.get(key, target._buffers.get(key))
            if old is None:
                raise ModelError(
                    f"the model was pruned in the tensor '{change.module}.{key}', which the factory no "
                    "longer makes. Give it the code that it was pruned with."
                )
            new = replaced.get(id(old))
            if new is None:
                new = torch.empty(shape, dtype=old.dtype)
                if isinstance(old, torch.nn.Parameter):
                    new = torch.nn.Parameter(new, requires_grad=old.requires_grad)
                replaced[id(old)] = new
            store = target._parameters if key in target._parameters else target._buffers
            store[key] = new


def _sizes(module: torch.nn.Module) -> dict[str, int | tuple[int, ...]]:
    """The integers, and tuples of integers, that a module keeps beside its tensors."""
    return {
        key: tuple(value) if isinstance(value, tuple) else value
        for key, value in vars(module).items()
        if _is_int(value) or (isinstance(value, tuple) and value and all(map(_is_int, value)))
    }


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    own = {**module._parameters, **module._buffers}
    return {key: tensor for key, tensor in own.items() if tensor is not None}

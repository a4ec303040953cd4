"""A function that returns the module, and a file with its weights."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, JsonValue

from mlopt.errors import ModelError
from mlopt.frameworks.cost import count_cost
from mlopt.frameworks.torch_module import (
    as_tensors,
    build_module,
    call_module,
    name_outputs,
    save_module,
)
from mlopt.sources.models._base import ModelSource, output_specs
from mlopt.types.artifact import Format
from mlopt.types.passes import Draft
from mlopt.types.patterns import REFERENCE
from mlopt.types.tensors import TensorSpec
from mlopt.types.torch_model import TorchModel
from mlopt.workers.usercode import describe, reference_problem

if TYPE_CHECKING:
    import numpy as np
    import torch


class FactoryModel(ModelSource):
    """A PyTorch model.

    Attributes:
        factory: ``module:function`` beside mlopt.yaml; returns the untrained module.
        arguments: Keyword arguments for it.
        weights: ``.safetensors``, or a checkpoint with a ``state_dict``.
    """

    name: ClassVar[str] = "factory"
    summary: ClassVar[str] = "a factory function and a file with the weights"
    produces: ClassVar[Format] = "torch"

    factory: Annotated[str, Field(pattern=REFERENCE)]
    arguments: dict[str, JsonValue] = {}
    weights: str

    def files(self, project_dir: Path) -> dict[str, str]:
        """The weights."""
        return {"weights": self.weights}

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """The weights must be there, and the factory where it is said to be."""
        yield from super().problems(project_dir)
        if (problem := reference_problem(self.factory, project_dir)) is not None:
            yield "factory", problem

    def materialise(
        self,
        workspace: Path,
        project_dir: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[str, ...],
        example: Mapping[str, np.ndarray[Any, Any]],
    ) -> Draft:
        """Builds the module, loads the weights, runs it once, and writes both.

        Raises:
            ModelError: Any of this fails; the message says where and how to mend it.
        """
        import torch

        model = TorchModel(factory=self.factory, arguments=self.arguments, outputs=outputs)
        module = build_module(model, project_dir)
        load_weights(module, project_dir / self.weights, self.weights)
        module.eval()
        try:
            with torch.inference_mode():
                found = call_module(module, as_tensors(example))
        except Exception as e:
            shapes = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in example.items())
            raise ModelError(
                f"model: '{self.factory}' does not accept the example input {shapes}: "
                f"{describe(e, project_dir)}. Make 'inputs' and the data fit what forward expects."
            ) from e
        batch = len(next(iter(example.values())))
        named = {k: _as_array(k, v) for k, v in name_outputs(found, outputs).items()}
        specs = output_specs(named, batch)
        names = tuple(spec.name for spec in specs)
        stored = model.model_copy(update={"outputs": names})
        main = save_module(module, stored, workspace)
        cost = count_cost(module, as_tensors(example))
        return Draft(main=main, inputs=inputs, outputs=specs, facts=cost._asdict())


def _as_array(name: str, tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    try:
        return tensor.numpy(force=True)
    except (RuntimeError, TypeError) as e:  # bfloat16, sparse, quantized
        raise ModelError(
            f"model: output '{name}' has the type {tensor.dtype}, which NumPy does not have. Convert "
            "it in forward, with .float() say."
        ) from e


def load_weights(
    module: torch.nn.Module, path: Path, shown: str, place: str = "model.weights"
) -> None:
    """Loads ``path`` into ``module``, every tensor in its place.

    Args:
        module: Changed in place.
        path: ``.safetensors`` or a checkpoint that ``torch.load`` reads with ``weights_only``.
        shown: The path as the user wrote it, for messages.
        place: Where in mlopt.yaml it stands, for messages.

    Raises:
        ModelError: The file is unsafe or damaged, or its tensors are not the module's.
    """
    state = (
        _read_safetensors(path, shown, place)
        if path.suffix == ".safetensors"
        else _read_checkpoint(path, shown, place)
    )
    own = module.state_dict()
    wrong = [
        f"'{name}' is {list(state[name].shape)} and should be {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    # safetensors stores one of several tied tensors; load_state_dict fills the others.
    tied = _tied_names(module)
    missing = [name for name in missing if not (tied.get(name, set()) & set(state))]
    if wrong or missing or unknown:
        lines = [
            *wrong,
            *(f"'{n}' is missing" for n in missing),
            *(f"'{n}' is unknown" for n in unknown),
        ]
        more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
        raise ModelError(
            f"{place}: {shown} does not fit the model: {'; '.join(lines[:3])}{more}. "
            "Check that factory and arguments are those of the training."
        )
    module.load_state_dict(state, strict=False)


def _tied_names(module: torch.nn.Module) -> dict[str, set[str]]:
    by_storage: dict[int, set[str]] = {}
    state = module.state_dict(keep_vars=True)
    for name, tensor in state.items():
        by_storage.setdefault(id(tensor), set()).add(name)
    return {name: group for group in by_storage.values() for name in group}


def _read_safetensors(path: Path, shown: str, place: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as e:
        raise ModelError(
            f"{place}: {shown} is no readable safetensors file: {e}. Save it again with "
            "safetensors.torch.save_file(model.state_dict(), ...)."
        ) from e


def _read_checkpoint(path: Path, shown: str, place: str) -> dict[str, torch.Tensor]:
    import torch

    mend = "Save it again with torch.save(model.state_dict(), ...) or as safetensors."
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        if isinstance(e, pickle.UnpicklingError) and _is_pickle(path):
            raise ModelError(
                f"{place}: {shown} holds pickled Python objects, and loading them would run "
                f"their code. {mend}"
            ) from e
        reason = str(e).strip().split("\n")[0][:200] if _is_pickle(path) else "no pickle in it"
        raise ModelError(
            f"{place}: {shown} is cut short or is no checkpoint ({reason}). {mend}"
        ) from e
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(v, torch.Tensor) for v in content.values()
    ):
        raise ModelError(f"{place}: {shown} holds no state_dict. {mend}")
    return content


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as torch.save begins it: a zip, or a bare pickle before torch 1.6."""
    with path.open("rb") as file:
        return file.read(2) in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}

"""Make artifacts of bare ONNX files, and see that all take the same inputs. Runs in a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlopt.errors import ModelError
from mlopt.pipeline.seal import seal
from mlopt.pipeline.tasks.adopt import SYNTHETIC_EXAMPLES, synthetic_inputs
from mlopt.sources.contract import check_inputs
from mlopt.sources.data.npz import NpzData
from mlopt.sources.models.onnx_file import OnnxModel
from mlopt.store.snapshot import Snapshot, SnapshotWriter
from mlopt.types.artifact import Artifact, LineageStep
from mlopt.types.tensors import BATCH, TensorSpec, fixed_batch
from mlopt.workers import emit


def admit(
    entrants: list[dict[str, str | None]], snapshot: str, data: str | None, seed: int
) -> dict[str, Any]:
    """Checks and seals what was named.

    Args:
        entrants: For each, ``name``, ``onnx`` (None for an artifact) and ``directory``; the one of
            a bare file is made.
        snapshot: Directory of the inputs; it is written when it does not exist.
        data: An ``.npz`` file to write it from; None: synthetic inputs.
        seed: For synthetic inputs.

    Returns:
        ``fixed_batches``: for each entrant, the batch size that it insists on, or None.

    Raises:
        ModelError: A file is damaged, or the entrants do not take the same inputs.
        DataError: The data does not fit the inputs.
    """
    names = [f"'{one['name']}'" for one in entrants]
    inputs = [_inputs(one) for one in entrants]
    wanted = inputs[0]
    for name, specs in zip(names[1:], inputs[1:], strict=True):
        _refuse_clash(name, specs, names[0], wanted)
    if Path(snapshot).exists():
        given = examples_as_specs(Snapshot(Path(snapshot)))
        for name, specs in zip(names, inputs, strict=True):
            _refuse_clash(name, specs, "the project's data", given)
    else:
        emit("making inputs")
        _write_inputs(Path(snapshot), wanted, data, seed)
    examples = Snapshot(Path(snapshot))
    for one, specs in zip(entrants, inputs, strict=True):
        if one["onnx"] is not None:
            emit(f"reading {one['name']}")
            _seal(one, specs, examples)
    return {"fixed_batches": [fixed_batch(specs) for specs in inputs]}


def clash(first: Sequence[TensorSpec], second: Sequence[TensorSpec]) -> str | None:
    """The input in which two signatures differ, by its name; None when one batch fits both.

    A dynamic axis fits any size.
    """
    own, other = ({spec.name: spec for spec in specs} for specs in (first, second))
    if own.keys() != other.keys():
        return sorted(own.keys() ^ other.keys())[0]
    for name, spec in own.items():
        known = other[name]
        same_kind = spec.dtype == known.dtype and len(spec.shape) == len(known.shape)
        if not same_kind or any(
            a != b for a, b in zip(spec.shape, known.shape, strict=True) if _both_fixed(a, b)
        ):
            return name
    return None


def examples_as_specs(snapshot: Snapshot) -> tuple[TensorSpec, ...]:
    """What stored examples would fit; the axis along which they are padded is dynamic."""
    padding = snapshot.index.padding
    padded = () if padding is None else padding.columns
    return tuple(
        TensorSpec.model_validate(
            {
                "name": name,
                "dtype": str(array.dtype),
                "shape": (
                    BATCH,
                    *(
                        "length" if i == 0 and name in padded else n
                        for i, n in enumerate(array.shape[1:])
                    ),
                ),
            }
        )
        for name, array in snapshot.inputs.items()
    )


def _both_fixed(a: int | str, b: int | str) -> bool:
    return isinstance(a, int) and isinstance(b, int)


def _refuse_clash(
    name: str, specs: Sequence[TensorSpec], other: str, wanted: Sequence[TensorSpec]
) -> None:
    if clash(specs, wanted) is None:
        return
    raise ModelError(
        f"{name} takes {_listed(specs)}, and {other} {_listed(wanted)}: side by side they must "
        "answer the same inputs. Export both with the same input names, types and shapes."
    )


def _listed(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(map(str, specs)) or "nothing"


def _inputs(one: Mapping[str, str | None]) -> tuple[TensorSpec, ...]:
    name, onnx = one["name"], one["onnx"]
    if onnx is None:
        return Artifact.open(Path(str(one["directory"]))).manifest.inputs
    path = Path(onnx)
    try:
        found = OnnxModel(onnx=path.name).declared_inputs(path.parent)
    except ModelError as e:
        raise ModelError(f"'{name}': {_without_place(e)}") from e
    if not found:
        raise ModelError(f"'{name}' takes no input: there is nothing to time.")
    return found


def _without_place(error: ModelError) -> str:
    """The message without the key of mlopt.yaml that it does not come from here."""
    return str(error).removeprefix("model.onnx: ")


def _write_inputs(
    snapshot: Path, specs: tuple[TensorSpec, ...], data: str | None, seed: int
) -> None:
    with SnapshotWriter(snapshot) as writer:
        if data is None:
            writer.append(synthetic_inputs(specs, SYNTHETIC_EXAMPLES, seed), None)
        else:
            source = NpzData(npz=Path(data).name)
            names = tuple(spec.name for spec in specs)
            for batch in source.batches(Path(data).parent, names, "--data"):
                writer.append(check_inputs(batch.inputs, specs, "--data"), None)
        writer.finish()


def _seal(one: Mapping[str, str | None], specs: tuple[TensorSpec, ...], examples: Snapshot) -> None:
    path, directory = Path(str(one["onnx"])), Path(str(one["directory"]))
    directory.mkdir(parents=True)
    example = next(examples.batches(fixed_batch(specs) or 1))
    model = OnnxModel(onnx=path.name)
    try:
        draft = model.materialise(directory, path.parent, specs, (), example)
    except ModelError as e:
        raise ModelError(f"'{one['name']}': {_without_place(e)}") from e
    step = LineageStep(transformation="source", parameters={"onnx": path.name})
    seal(directory, draft, "onnx", (step,), "")

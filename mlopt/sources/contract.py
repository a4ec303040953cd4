"""The data contract: what the project file says about a split must be so.

A split is read once, checked batch by batch, and kept as a snapshot. Nothing is built before
every split has passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import DataError
from mlopt.sources.conversion import as_arrays
from mlopt.sources.data import Batch, DataSource
from mlopt.sources.endless import CYCLES, CycleWatch
from mlopt.types.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlopt.sources.preprocessing import Preprocessor
    from mlopt.store.snapshot import Snapshot, SnapshotIndex, SnapshotWriter

OVERLAPS_ALLOWED = frozenset({frozenset({"calibration", "training"})})


class ReadLimits(NamedTuple):
    """When a split is taken to be endless."""

    examples: int
    size_bytes: int


def read_split(
    source: DataSource,
    split: str,
    specs: tuple[TensorSpec, ...],
    project_dir: Path,
    target: Path,
    limits: ReadLimits,
    needs_targets: bool = True,
    preprocessor: Preprocessor | None = None,
) -> SnapshotIndex:
    """Reads and checks one split, and writes its snapshot into ``target``.

    Args:
        source: Where it comes from.
        split: Its name.
        specs: The inputs as the project states them.
        project_dir: Where the user's code is.
        target: A directory that does not exist yet.
        limits: When to give up on an endless iterator.
        needs_targets: Whether the task is scored against targets; calibration never needs them.
        preprocessor: What turns raw columns into inputs, if the model has it.

    Raises:
        ConfigError: The user's code cannot be imported.
        DataError: The split breaks the contract.
    """
    from mlopt.store.padding import padding_of
    from mlopt.store.snapshot import SnapshotWriter

    place = f"data.{split}"
    watch = CycleWatch()
    names = tuple(spec.name for spec in specs)
    padding = padding_of(specs, preprocessor.fill if preprocessor is not None else None)
    with SnapshotWriter(target, padding) as writer:
        for number, raw in enumerate(source.batches(project_dir, names, place)):
            where = f"{place}, batch {number}"
            batch = as_arrays(raw, specs, preprocessor, source.typed, where)
            inputs = check_inputs(batch.inputs, specs, where)
            _check_target(batch, inputs, where, needs_targets and split != "calibration")
            try:
                writer.append(inputs, batch.target)
            except ValueError as e:
                raise DataError(
                    f"{where}: {e}. All examples of a split must have one size: pad or crop them "
                    "in the data function."
                ) from e
            if not source.finite and (length := watch.sees_cycle(inputs)):
                raise DataError(
                    f"{place} does not seem to end: the same {length} batches came {CYCLES} times "
                    "over. Yield every example once."
                )
            _refuse_too_many(writer, place, limits)
        if writer.examples == 0:
            raise DataError(
                f"{place} is empty: its source yields no batch. Check the path or the filter in it."
            )
        return writer.finish()


def check_inputs(
    found: Mapping[str, np.ndarray[Any, Any]], specs: tuple[TensorSpec, ...], where: str
) -> dict[str, np.ndarray[Any, Any]]:
    """The inputs of a batch in the order of ``specs``.

    Raises:
        DataError: A name, dtype or shape differs, a value is NaN or infinite, or the inputs
            differ in length or on the size of an axis.
    """
    wanted = {spec.name: spec for spec in specs}
    if set(found) != set(wanted):
        raise DataError(
            f"{where}: the inputs are called {_names(found)}; 'inputs' in mlopt.yaml says {_names(wanted)}."
        )
    for name, spec in wanted.items():
        _check_tensor(found[name], spec, where)
    lengths = {name: len(found[name]) for name in wanted}
    if len(set(lengths.values())) > 1:
        found_lengths = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
        raise DataError(
            f"{where}: the inputs differ in their number of examples: {found_lengths}. Every input "
            "needs one row for each example."
        )
    _check_axes(found, specs, where)
    return {name: found[name] for name in wanted}


def _check_tensor(array: np.ndarray[Any, Any], spec: TensorSpec, where: str) -> None:
    import numpy as np

    if str(array.dtype) != spec.dtype:
        raise DataError(
            f"{where}: '{spec.name}' is {array.dtype} and 'inputs' says {spec.dtype}. Convert it in "
            f"the data function (.astype('{spec.dtype}')), or correct 'inputs'."
        )
    fits = array.ndim == len(spec.shape) and all(
        isinstance(want, str) or have == want
        for have, want in zip(array.shape[1:], spec.shape[1:], strict=True)
    )
    if not fits:
        raise DataError(
            f"{where}: '{spec.name}' has shape {list(array.shape)} and 'inputs' says "
            f"[{', '.join(map(str, spec.shape))}]. Correct the data function or 'inputs'."
        )
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        raise DataError(
            f"{where}: '{spec.name}' of example {bad} holds NaN or infinity. Clean the data."
        )


def _check_axes(
    found: Mapping[str, np.ndarray[Any, Any]], specs: tuple[TensorSpec, ...], where: str
) -> None:
    sizes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        for axis, size in zip(spec.shape[1:], found[spec.name].shape[1:], strict=True):
            if not isinstance(axis, str):
                continue
            first, owner = sizes.setdefault(axis, (size, spec.name))
            if size != first:
                raise DataError(
                    f"{where}: the axis '{axis}' has size {first} in '{owner}' and {size} in "
                    f"'{spec.name}'. Give it two names in 'inputs', or pad both to one size."
                )


def _check_target(
    batch: Batch, inputs: Mapping[str, np.ndarray[Any, Any]], where: str, needed: bool
) -> None:
    if batch.target is None:
        if needed:
            raise DataError(
                f"{where} has no targets: yield (inputs, targets). Only calibration goes without."
            )
        return
    import numpy as np

    count = len(next(iter(inputs.values())))
    if len(batch.target) != count:
        raise DataError(
            f"{where}: {count} examples and {len(batch.target)} targets. Yield one target for each "
            "example."
        )
    if batch.target.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: the targets are {batch.target.dtype}, and must be numbers. Map the labels to "
            "0, 1, 2, ... in the data function."
        )
    if np.issubdtype(batch.target.dtype, np.floating) and not np.isfinite(batch.target).all():
        raise DataError(f"{where}: a target is NaN or infinite. Clean the data.")


def _refuse_too_many(writer: SnapshotWriter, place: str, limits: ReadLimits) -> None:
    n = writer.examples
    if n > limits.examples or writer.bytes_written > limits.size_bytes:
        raise DataError(
            f"{place} did not end after {n} examples ({writer.bytes_written / 1e6:.0f} MB). If it is "
            "that large, raise limits.examples or limits.data_mb in mlopt.yaml; if it is endless, "
            "yield every example once."
        )


def check_fills_a_batch(snapshots: Mapping[str, Snapshot], batch_size: int) -> None:
    """Checks that every split fills one batch of a model whose batch size is fixed.

    Raises:
        DataError: One is too small.
    """
    for split, snapshot in snapshots.items():
        if snapshot.examples < batch_size:
            raise DataError(
                f"data.{split} has {snapshot.examples} examples, and the model takes batches of "
                f"exactly {batch_size}. Give it at least {batch_size}."
            )


def check_overlap(snapshots: Mapping[str, Snapshot]) -> None:
    """Checks that selection and holdout overlap with nothing, and that training may.

    Calibration may lie inside training. Everything else that two splits have in common was seen
    by a choice that should not have seen it.

    Raises:
        DataError: Two splits share an example.
    """
    hashes = {name: set(snapshot.hashes.tolist()) for name, snapshot in snapshots.items()}
    for first, second in _pairs(list(hashes)):
        if frozenset({first, second}) in OVERLAPS_ALLOWED:
            continue
        shared = len(hashes[first] & hashes[second])
        if shared:
            raise DataError(
                f"data: {first} and {second} share {shared} examples. A number measured on seen examples "
                "flatters: give each example to one of them (only calibration may lie inside training)."
            )


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    for i, first in enumerate(names):
        for second in islice(names, i + 1, None):
            yield first, second


def _names(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in mapping) or "nothing"

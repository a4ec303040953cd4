"""A split of the data as it was read once, so that everybody sees the same examples.

The user's data code runs once, in one worker. Calibration, scoring and timing then read the
snapshot through memory maps: no nondeterministic loader can make two candidates answer different
questions, and no worker holds more than the batch at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from mlopt.store.files import write_atomically
from mlopt.store.hashing import sha256_json
from mlopt.types.record import Record

Array = np.ndarray[Any, Any]

INDEX = "snapshot.json"

_Key = tuple[Literal["input", "target"], str]
_TARGET: _Key = ("target", "target")


class Column(Record):
    """One array of a snapshot: raw values in C order, the example axis first."""

    file: str
    dtype: str
    shape: tuple[int, ...]


class SnapshotIndex(Record):
    """What a snapshot holds.

    Attributes:
        duplicates: Examples whose inputs are, byte for byte, those of an earlier one.
        sha256: Hash over all inputs and targets in their order.
    """

    examples: int
    inputs: dict[str, Column]
    target: Column | None
    duplicates: int
    sha256: str


class Snapshot:
    """Reads a split from disk. Arrays are memory-mapped, and read-only."""

    def __init__(self, directory: Path) -> None:
        """Opens the snapshot in ``directory``."""
        self.directory = directory
        self.index = SnapshotIndex.model_validate_json((directory / INDEX).read_bytes())
        self.inputs = {name: self._map(column) for name, column in self.index.inputs.items()}

    @property
    def examples(self) -> int:
        """Number of examples."""
        return self.index.examples

    @property
    def targets(self) -> Array | None:
        """Targets, the example axis first; None for a split without any."""
        return None if self.index.target is None else self._map(self.index.target)

    @property
    def hashes(self) -> Array:
        """A hash of each example's inputs, shape (N,), 16 bytes each."""
        return np.fromfile(self.directory / "hashes.bin", dtype="V16")

    def batches(self, size: int) -> Iterator[Mapping[str, Array]]:
        """Batches of inputs by name; the last one may be smaller."""
        for start in range(0, self.examples, size):
            yield {
                name: np.array(array[start : start + size]) for name, array in self.inputs.items()
            }

    def _map(self, column: Column) -> Array:
        return np.memmap(self.directory / column.file, column.dtype, mode="r", shape=column.shape)


class SnapshotWriter:
    """Appends batches to a snapshot; a context manager."""

    def __init__(self, directory: Path) -> None:
        """Starts a snapshot in ``directory``, which is made."""
        directory.mkdir(parents=True)
        self._directory = directory
        self._files: dict[_Key, Any] = {}
        self._columns: dict[_Key, tuple[str, tuple[int, ...]]] = {}
        self._digests: dict[_Key, hashlib._Hash] = {}
        self._hashes: list[bytes] = []
        self.bytes_written = 0

    @property
    def examples(self) -> int:
        """Examples so far."""
        return len(self._hashes)

    @property
    def distinct(self) -> int:
        """Different examples so far."""
        return len(set(self._hashes))

    def append(self, inputs: Mapping[str, Array], target: Array | None) -> None:
        """Appends a batch; columns, dtypes and shapes must be those of the first one.

        Args:
            inputs: By name, shape (n, ...).
            target: Shape (n, ...), or None for a split without targets.

        Raises:
            ValueError: A batch differs from the first in its columns, their dtype or the shape of
                their examples, or its columns differ in length.
        """
        columns: dict[_Key, Array] = {
            ("input", name): np.ascontiguousarray(array) for name, array in inputs.items()
        }
        if target is not None:
            columns[_TARGET] = np.ascontiguousarray(target)
        self._check(columns)
        for i in range(len(next(iter(columns.values())))):
            row = hashlib.blake2b(digest_size=16)
            for name in sorted(inputs):
                row.update(columns["input", name][i].tobytes())
            self._hashes.append(row.digest())
        for key, array in columns.items():
            self._write(key, array)

    def _check(self, columns: Mapping[_Key, Array]) -> None:
        lengths = {name: len(array) for (_, name), array in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the number of examples differs: {lengths}")
        if self._columns and set(columns) != set(self._columns):
            here, first = (", ".join(name for _, name in each) for each in (columns, self._columns))
            raise ValueError(f"there is {here} here and {first} in the first batch")

    def _write(self, key: _Key, array: Array) -> None:
        kind = (array.dtype.str, array.shape[1:])
        first = self._columns.setdefault(key, kind)
        if first != kind:
            raise ValueError(
                f"'{key[1]}' is {array.dtype}{list(array.shape[1:])} here and "
                f"{np.dtype(first[0])}{list(first[1])} in the first batch"
            )
        if key not in self._files:
            self._files[key] = (self._directory / f"column{len(self._files)}.bin").open("wb")
            self._digests[key] = hashlib.sha256()
        data = array.tobytes()
        self._files[key].write(data)
        self._digests[key].update(data)
        self.bytes_written += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def _identity(self, columns: Mapping[_Key, Column]) -> str:
        """Hash over name, role, dtype, shape and content of every column."""
        return sha256_json(
            [
                [*key, column.dtype, column.shape, self._digests[key].hexdigest()]
                for key, column in sorted(columns.items())
            ]
        )

    def finish(self) -> SnapshotIndex:
        """Writes the index and returns it."""
        for file in self._files.values():
            file.close()
        (self._directory / "hashes.bin").write_bytes(b"".join(self._hashes))
        columns = {
            key: Column(
                file=Path(self._files[key].name).name,
                dtype=kind[0],
                shape=(self.examples, *kind[1]),
            )
            for key, kind in self._columns.items()
        }
        index = SnapshotIndex(
            examples=self.examples,
            inputs={name: column for (role, name), column in columns.items() if role == "input"},
            target=columns.get(_TARGET),
            duplicates=self.examples - self.distinct,
            sha256=self._identity(columns),
        )
        write_atomically(self._directory / INDEX, index.model_dump_json(indent=1))
        return index

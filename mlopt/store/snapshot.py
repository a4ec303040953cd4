"""A split of the data as it was read once, so that everybody sees the same examples.

The user's data code runs once, in one worker. Calibration, scoring and timing then read the
snapshot through memory maps: no nondeterministic loader can make two candidates answer different
questions, and no worker holds more than the batch at hand.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from mlopt.store.files import write_atomically
from mlopt.store.hashing import sha256_file, sha256_json
from mlopt.store.padding import Padding, kept_length, lengthen_file, lengthened
from mlopt.types.task import IGNORED

Array = np.ndarray[Any, Any]

INDEX = "snapshot.json"

_Key = tuple[Literal["input", "target"], str]
_TARGET: _Key = ("target", "target")


@dataclass(frozen=True)
class Column:
    """One array of a snapshot: raw values in C order, the example axis first."""

    file: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SnapshotIndex:
    """What a snapshot holds.

    Attributes:
        duplicates: Examples whose inputs are, byte for byte, those of an earlier one.
        sha256: Hash over all inputs and targets in their order.
        padding: Which inputs are padded to one length; None where all examples have one anyway.
    """

    examples: int
    inputs: dict[str, Column]
    target: Column | None
    duplicates: int
    sha256: str
    padding: Padding | None = None

    @classmethod
    def read(cls, directory: Path) -> SnapshotIndex:
        """What the snapshot in ``directory`` holds."""
        stored = json.loads((directory / INDEX).read_bytes())
        return cls(
            examples=stored["examples"],
            inputs={name: _column(one) for name, one in stored["inputs"].items()},
            target=None if stored["target"] is None else _column(stored["target"]),
            duplicates=stored["duplicates"],
            sha256=stored["sha256"],
            padding=_padding(stored.get("padding")),
        )

    def text(self) -> str:
        """What :meth:`read` reads."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def _column(stored: dict[str, Any]) -> Column:
    return Column(**stored | {"shape": tuple(stored["shape"])})


def _padding(stored: dict[str, Any] | None) -> Padding | None:
    """None also where an mlopt wrote it that knew no padding."""
    if stored is None:
        return None
    return Padding(**stored | {"columns": tuple(stored["columns"])})


class Snapshot:
    """Reads a split from disk. Arrays are memory-mapped, and read-only."""

    def __init__(self, directory: Path) -> None:
        """Opens the snapshot in ``directory``."""
        self.directory = directory
        self.index = SnapshotIndex.read(directory)
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

    @property
    def length(self) -> int | None:
        """What padded inputs are padded to; None where none is padded."""
        padding = self.index.padding
        return None if padding is None else self.index.inputs[padding.mask].shape[1]

    def batches(self, size: int) -> Iterator[Mapping[str, Array]]:
        """Batches of inputs by name, as :meth:`take` gives them; the last one may be smaller."""
        for start in range(0, self.examples, size):
            yield self.take(slice(start, start + size))

    def take(self, rows: slice | Array) -> dict[str, Array]:
        """Some examples in memory, writable, without the columns that pad all of them.

        Args:
            rows: Which.

        Returns:
            Inputs by name, shape (n, ...).
        """
        padding = self.index.padding
        if padding is None:
            return {name: np.array(array[rows]) for name, array in self.inputs.items()}
        end = kept_length(np.asarray(self.inputs[padding.mask][rows]))
        return {
            name: np.array(array[rows][:, :end] if name in padding.columns else array[rows])
            for name, array in self.inputs.items()
        }

    def _map(self, column: Column) -> Array:
        return np.memmap(self.directory / column.file, column.dtype, mode="r", shape=column.shape)


class SnapshotWriter:
    """Appends batches to a snapshot; a context manager."""

    def __init__(self, directory: Path, padding: Padding | None = None) -> None:
        """Starts a snapshot in ``directory``, which is made.

        Args:
            directory: It must not exist.
            padding: Inputs that need not have one length; None: all have.
        """
        directory.mkdir(parents=True)
        self._directory = directory
        self._padding = padding
        self._files: dict[_Key, Any] = {}
        self._columns: dict[_Key, tuple[str, tuple[int, ...]]] = {}
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

        Padded inputs may be longer or shorter, and targets with them.

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
        self._hashes += self._row_hashes(inputs, columns)
        if self._padding is not None:
            columns = self._of_one_length(columns, self._padding)
        for key, array in columns.items():
            self._write(key, array)

    def _row_hashes(
        self, inputs: Mapping[str, Array], columns: Mapping[_Key, Array]
    ) -> Iterator[bytes]:
        """A hash of each example, which what pads it does not change."""
        padding = self._padding
        padded = padding.columns if padding is not None else ()
        for i in range(len(next(iter(columns.values())))):
            end = None
            if padding is not None:
                end = kept_length(columns["input", padding.mask][i : i + 1])
            row = hashlib.blake2b(digest_size=16)
            for name in sorted(inputs):
                values = columns["input", name][i]
                row.update((values[:end] if name in padded else values).tobytes())
            yield row.digest()

    def _of_one_length(self, columns: dict[_Key, Array], padding: Padding) -> dict[_Key, Array]:
        """The batch as long as what is stored; what is stored is lengthened if it is shorter."""
        mask: _Key = ("input", padding.mask)
        here = columns[mask].shape[1]
        stored = self._columns[mask][1][0] if mask in self._columns else here
        keys: list[tuple[_Key, int]] = [
            (("input", name), padding.fill.get(name, 0)) for name in padding.columns
        ]
        if self._follows(columns.get(_TARGET), here, stored):
            keys.append((_TARGET, IGNORED))
        for key, fill in keys:
            if key in self._columns and here > stored:
                self._lengthen(key, here, fill)
            columns[key] = lengthened(columns[key], stored, fill)
        return columns

    def _follows(self, target: Array | None, here: int, stored: int) -> bool:
        """Whether targets have one value for each token, as far as lengths that differ tell."""
        if target is None or target.ndim < 2 or here == stored or _TARGET not in self._columns:
            return False
        return target.shape[1] == here and self._columns[_TARGET][1][0] == stored

    def _lengthen(self, key: _Key, length: int, fill: int) -> None:
        dtype, shape = self._columns[key]
        file = self._files[key]
        path = Path(file.name)
        file.close()
        rows = path.stat().st_size // (np.dtype(dtype).itemsize * math.prod(shape))
        lengthen_file(path, dtype, (rows, *shape), length, fill)
        self._columns[key] = (dtype, (length, *shape[1:]))
        self._files[key] = path.open("ab")

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
        data = array.tobytes()
        self._files[key].write(data)
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
                [*key, column.dtype, column.shape, sha256_file(self._directory / column.file)]
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
            padding=self._padding,
        )
        write_atomically(self._directory / INDEX, index.text())
        return index

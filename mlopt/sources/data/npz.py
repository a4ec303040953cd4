"""An .npz file with one array for each input, and one with the targets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlopt.errors import DataError
from mlopt.sources.data._base import Batch, DataSource
from mlopt.sources.paths import missing_file

if TYPE_CHECKING:
    import numpy as np

ROWS_A_BATCH = 64


class NpzData(DataSource):
    """Arrays on disk, the example axis first.

    Attributes:
        npz: The file.
        target: Name of the array that holds the targets; it may be missing from the file.
    """

    name: ClassVar[str] = "npz"
    summary: ClassVar[str] = "an .npz file with an array for each input and one called 'target'"
    finite: ClassVar[bool] = True

    npz: str
    target: str = "target"

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """The file must be there."""
        if (problem := missing_file(project_dir, self.npz)) is not None:
            yield "npz", problem

    def batches(self, project_dir: Path, inputs: tuple[str, ...], place: str) -> Iterator[Batch]:
        """Slices the arrays into batches.

        Raises:
            DataError: The file is damaged, lacks an input, or its arrays differ in length.
        """
        arrays = self._read(project_dir, place)
        if missing := [name for name in inputs if name not in arrays]:
            raise DataError(
                f"{place}: {self.npz} has no array for the input {', '.join(missing)} "
                f"(it has {', '.join(arrays) or 'none'}). Save it with numpy.savez({inputs[0]}=..., ...)."
            )
        target = arrays.get(self.target)
        for name in (*inputs, self.target):
            if name in arrays and arrays[name].ndim == 0:
                raise DataError(
                    f"{place}: '{name}' in {self.npz} is a single number. Save an array whose first "
                    "axis counts the examples."
                )
        used = {name: arrays[name] for name in inputs}
        lengths = {
            n: len(a)
            for n, a in ({**used, self.target: target} if target is not None else used).items()
        }
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"{place}: the arrays of {self.npz} differ in length: {found}.")
        for start in range(0, lengths[inputs[0]], ROWS_A_BATCH):
            rows = slice(start, start + ROWS_A_BATCH)
            yield Batch(
                {n: a[rows] for n, a in used.items()}, None if target is None else target[rows]
            )

    def _read(self, project_dir: Path, place: str) -> dict[str, np.ndarray[Any, Any]]:
        import numpy as np

        mend = "Save it again with numpy.savez."
        try:
            file = np.load(project_dir / self.npz, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise DataError(f"{place}: {self.npz} holds one unnamed array. {mend}")
            with file:
                arrays = {name: file[name] for name in file.files}
        except DataError:
            raise
        except Exception as e:  # numpy, zipfile and zlib raise anything
            # Of anything that is no file of its own, numpy advises to unpickle it.
            unknown = "load it unsafely" in str(e)
            reason = "not a zip file" if unknown else str(e).strip().split("\n")[0].rstrip(".")
            raise DataError(
                f"{place}: {self.npz} is no readable .npz file: {reason}. {mend}"
            ) from e
        # What a zip file holds besides arrays, numpy gives as bytes.
        return {name: a for name, a in arrays.items() if isinstance(a, np.ndarray)}

"""The calibration examples, which can be read again from the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlopt.passes.int8_static import StreamingReader
from mlopt.types.passes import PassContext
from mlopt.types.tensors import TensorSpec, fixed_batch

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]


class Calibration:
    """Examples of the calibration split, in batches, as often as they are wanted."""

    def __init__(self, inputs: tuple[TensorSpec, ...], context: PassContext, most: int) -> None:
        """Prepares to read at most ``most`` examples.

        Raises:
            BuildError: There is not one batch of the size that the model insists on.
        """
        self._inputs = inputs
        self._context = context
        self._most = most
        self.examples = self._reader().examples

    def example(self) -> Arrays:
        """A batch of two, or of the size that the model insists on."""
        return next(iter(self._context.data("calibration", fixed_batch(self._inputs) or 2)))

    def batches(self) -> Iterator[Arrays]:
        """All of them, one batch in memory at a time."""
        reader = self._reader()
        while (batch := reader.get_next()) is not None:
            yield batch

    def _reader(self) -> StreamingReader:
        return StreamingReader(self._inputs, self._context, self._most)

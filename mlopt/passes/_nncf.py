"""NNCF, kept quiet, and calibration data in the form that it takes."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from mlopt.errors import BuildError
from mlopt.types.passes import PassContext
from mlopt.types.tensors import TensorSpec, fixed_batch

if TYPE_CHECKING:
    import numpy as np

TELEMETRY = "openvino_telemetry"


def load_nncf() -> ModuleType:
    """NNCF without its telemetry and its log.

    Its telemetry would write to the home directory and report each use over the network. Where the
    package that does so cannot be imported, NNCF does without.
    """
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    before = {TELEMETRY: modules[TELEMETRY]} if TELEMETRY in modules else {}
    modules[TELEMETRY] = None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import nncf
    finally:
        del modules[TELEMETRY]
        modules.update(before)
    nncf.set_log_level(logging.ERROR)
    return cast("ModuleType", nncf)


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """NNCF draws its progress on standard output; ours goes elsewhere."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


class CalibrationSource:
    """Calibration examples, read from disk anew for each time that NNCF goes through them.

    It goes through them one item at a time and keeps a few numbers of each activation, so its memory
    does not grow with their number. An item is one example, as NNCF wants to see the range of each;
    it is a batch where the model takes batches of one size only.

    Attributes:
        examples: How many there are.
        batch_size: Examples in an item; NNCF asks for it by this name.
    """

    def __init__(
        self, inputs: tuple[TensorSpec, ...], context: PassContext, most: int, rounds: int
    ) -> None:
        """Prepares to read at most ``most`` examples of the calibration split.

        Args:
            inputs: What the model takes.
            context: Where the examples are, and whom to tell how far we are.
            most: Examples, not batches.
            rounds: How many times NNCF is expected to go through them.

        Raises:
            BuildError: The split has not one batch of the size that the model insists on.
        """
        self.batch_size = fixed_batch(inputs) or 1
        available = min(most, context.examples("calibration"))
        self._items = available // self.batch_size
        if self._items == 0:
            raise BuildError(
                f"calibration has {available} examples, and the model takes batches of exactly "
                f"{self.batch_size}"
            )
        self.examples = self._items * self.batch_size
        self._context = context
        self._rounds = rounds
        self._round = 0

    def __len__(self) -> int:
        return self._items

    def __iter__(self) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        before, self._round = self._round, self._round + 1
        batches = self._context.data("calibration", self.batch_size)
        for i, batch in zip(range(self._items), batches, strict=False):
            done = (before + (i + 1) / self._items) / self._rounds
            self._context.emit("calibrating", min(1.0, done))
            yield dict(batch)

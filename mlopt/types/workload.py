"""How a model is called while it is timed."""

from typing import Literal

from mlopt.types.record import Record


class Workload(Record):
    """A way of calling: one caller that sends the next batch when the last one is answered.

    Attributes:
        batch_size: Examples in one inference.
        inputs_on: Where inputs and outputs live. ``host`` includes the copies to a device and
            back in the time; a provider whose inputs stay on its device (``cuda-device``) is the
            exception, and says so in its name.
    """

    batch_size: int = 1
    inputs_on: Literal["host"] = "host"

    @property
    def name(self) -> str:
        """The name that a budget line calls it by."""
        return f"batch-{self.batch_size}"

"""What the pipeline tells whoever watches it."""

from collections.abc import Callable
from typing import Literal

from mlopt.types.record import Record

Phase = Literal["check", "build", "score", "time", "compare", "confirm", "report"]


class Event(Record):
    """Something that is going on, or has just ended.

    Attributes:
        message: A few words, such as ``int8_static: calibrating`` or ``launch 2 of 5, round 7 of 12``.
        done: Share of the phase that is done, 0 to 1; None where it cannot be known.
        left_s: Estimated seconds until the phase ends; None where it cannot be known.
        level: ``warning`` for what the user should see even when progress is off.
    """

    phase: Phase
    message: str
    done: float | None = None
    left_s: float | None = None
    level: Literal["progress", "warning"] = "progress"


OnEvent = Callable[[Event], None]

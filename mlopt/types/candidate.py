"""What is deployed, timed and compared."""

from typing import Any, Literal

from mlopt.types.record import Record

Role = Literal["reference", "baseline", "candidate"]
"""``reference``: eager PyTorch, timed beside the others and never chosen. ``baseline``: what the
ratios and the deltas are over; it may be chosen."""


class Step(Record):
    """One pass of a recipe with one value for each of its options."""

    transformation: str
    options: dict[str, Any] = {}


class Stage(Record):
    """An artifact and what executes it.

    Attributes:
        artifact: Directory of the artifact.
        settings: Session settings, as the runner understands them; they ship with the artifact.
    """

    artifact: str
    runner: str
    provider: str
    settings: dict[str, Any] = {}


class PlannedCandidate(Record):
    """A candidate as the plan names it, before anything is built.

    Attributes:
        steps: Passes in their order. Candidates with a common beginning share what it builds.
        choices: What this candidate's name adds to the recipe's: the options that vary.
    """

    name: str
    role: Role
    recipe: str | None
    provider: str
    runner: str
    steps: tuple[Step, ...] = ()
    choices: dict[str, Any] = {}
    settings: dict[str, Any] = {}

"""What is deployed, timed and compared."""

from collections.abc import Mapping
from typing import Any, Literal, Self

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

    def with_choices(self, choices: Mapping[str, Any]) -> Self:
        """A candidate with other choices, and the name that says them: ``int8[float=3]@openvino``."""
        head, at, provider = self.name.partition("@")
        name = head.partition("[")[0] + suffix_of(choices) + at + provider
        return self.model_copy(update={"name": name, "choices": dict(choices), "role": "candidate"})


def suffix_of(choices: Mapping[str, Any]) -> str:
    """What choices add to the name of a recipe."""
    if not choices:
        return ""
    return "[" + ",".join(f"{name}={value}" for name, value in choices.items()) + "]"

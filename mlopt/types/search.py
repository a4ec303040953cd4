"""How much of a space of choices was seen, and what stood out in it."""

from __future__ import annotations

from typing import Any

from mlopt.types.record import Record


class SearchSummary(Record):
    """What became of one recipe's search.

    Attributes:
        recipe: Its name.
        method: How the next combination was chosen, in words.
        choices: The values of each choice, by its label.
        size: How many combinations of them there are.
        asked: Names of the candidates that were asked for, in their order.
        seen: How many of those were measured, or failed.
        failed: How many failed.
        front: Names of those that no other one beats in both p50 and loss, the fastest first.
    """

    recipe: str
    method: str
    choices: dict[str, tuple[Any, ...]]
    size: int
    asked: tuple[str, ...]
    seen: int
    failed: int
    front: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of the space that was seen, 0 to 1."""
        return self.seen / self.size

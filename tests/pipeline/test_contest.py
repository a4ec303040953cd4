"""A comparison of two ends when there are no longer two."""

from __future__ import annotations

import pytest

from mlopt.pipeline.contest import _Both
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import Ruling, Seen


class Patient:
    """A referee that never has enough."""

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        return Ruling(words=f"{launches} launches")


@pytest.mark.parametrize(
    ("names", "stop"), [(("a", "b"), None), (("b",), "one of the two fell out")]
)
def test_a_comparison_goes_on_while_there_are_two(names: tuple[str, ...], stop: str | None) -> None:
    seen = {name: {1: Samples()} for name in names}
    assert _Both(Patient()).after_launch(seen, 3).stop == stop

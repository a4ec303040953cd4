"""A comparison of two: when it ends, and what it warns of."""

from __future__ import annotations

import pytest
from made_by_hand import evidence, interval, measured

from mlopt.pipeline.contest import _Both, _warnings
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import Ruling, Seen
from mlopt.types.measurement import Diagnostic, Evidence


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


def disturbed(**seen: str) -> Evidence:
    found = [
        Diagnostic(name=name, status="warning", seen=words, advice=f"mend {name}")
        for name, words in seen.items()
    ]
    calm = Diagnostic(name="two modes", status="ok", seen="one mode")
    return evidence(measured(interval(1.0), diagnostics=(calm, *found)))


def test_what_disturbed_both_is_said_once_with_what_was_seen_of_each() -> None:
    a, b = disturbed(steal="3% was stolen", drift="a drift"), disturbed(steal="4% was stolen")
    assert _warnings(a, b) == (
        "A and B: steal: 3% was stolen; 4% was stolen; mend steal",
        "A: drift: a drift; mend drift",
    )
    assert _warnings(b, b)[0] == "A and B: steal: 4% was stolen; mend steal"

"""The race of session settings."""

from __future__ import annotations

from typing import Any

from proposer_cases import planned, run_of, seen

from mlopt.search import TuningRace
from mlopt.types.candidate import PlannedCandidate

SETTINGS = {"threads": [1, 2], "spinning": [False]}


def settle(candidate: PlannedCandidate, name: str, value: Any) -> PlannedCandidate | None:
    """Sets one setting; two threads are what everybody has anyway."""
    if (name, value) == ("threads", 2):
        return None
    settings = {**candidate.settings, name: value}
    shown = ",".join(f"{n}={v}" for n, v in settings.items())
    name = f"{candidate.name.partition('[')[0]}[{shown}]"
    return candidate.model_copy(update={"name": name, "settings": settings})


def race(*names: str) -> TuningRace:
    return TuningRace([planned(name) for name in names], SETTINGS, settle)


def test_each_setting_is_tried_alone_and_what_changes_nothing_is_not() -> None:
    batch = race("a", "b").ask()
    assert batch is not None
    assert [c.name for c in batch.candidates] == [
        "a[threads=1]",
        "a[spinning=False]",
        "b[threads=1]",
        "b[spinning=False]",
    ]


def test_settings_that_were_faster_alone_are_tried_together() -> None:
    proposer = race("a", "b")
    first = proposer.ask()
    assert first is not None
    ratios = {"a[threads=1]": 0.4, "a[spinning=False]": 0.45, "b[threads=1]": 0.4}
    alone = [seen(c, ratios.get(c.name, 0.9)) for c in first.candidates]
    proposer.tell(run_of(seen(planned("a"), 0.5), seen(planned("b"), 0.5), *alone))
    second = proposer.ask()
    assert second is not None
    assert [c.settings for c in second.candidates] == [{"threads": 1, "spinning": False}]
    proposer.tell(run_of(*alone))
    assert proposer.ask() is None


def test_a_setting_that_failed_or_was_slower_is_in_no_combination() -> None:
    proposer = race("a")
    first = proposer.ask()
    assert first is not None
    proposer.tell(run_of(seen(planned("a"), 0.5), seen(first.candidates[0], 0.4)))
    assert proposer.ask() is None


def test_there_is_no_race_where_no_setting_can_change_anything() -> None:
    assert TuningRace([planned("a")], {"threads": [2]}, settle).ask() is None

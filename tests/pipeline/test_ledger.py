"""Which fields of a record were compared, and what is said of the others."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mlopt.pipeline.ledger import OLDER, RECORDED, Ledger

STORED: dict[str, Any] = {
    "started": "today",
    "evidence": [{"p50": 1.5, "count": 3, "extra": None}, {"p50": 2.5, "count": 4, "extra": 0.1}],
    "words": ["a", "b"],
}


def ledger(raw: dict[str, Any] | None = None, relative: float = 1e-9) -> Ledger:
    return Ledger("run.json", copy.deepcopy(STORED), STORED if raw is None else raw, relative)


def test_a_number_that_differs_is_named_by_its_pointer_and_mended_in_the_document() -> None:
    one = ledger()

    one.expect(("evidence", 1), {"p50": 2.6, "count": 4, "extra": 0.1})

    [found] = one.findings().mismatches
    assert (found.file, found.place) == ("run.json", "/evidence/1/p50")
    assert (found.says, found.should) == ("2.5", "2.6")
    assert one.document["evidence"][1]["p50"] == 2.6


def test_what_differs_by_rounding_is_equal_and_stays_as_it_is_stored() -> None:
    one = ledger(relative=1e-9)

    one.expect(("evidence", 0, "p50"), 1.5 * (1 + 1e-10))

    assert one.findings().mismatches == ()
    assert one.document["evidence"][0]["p50"] == 1.5


@pytest.mark.parametrize(("should", "differs"), [(1.5 + 1e-7, False), (1.5 + 1e-5, True)])
def test_single_precision_is_compared_with_the_size_that_it_was_computed_at(
    should: float, differs: bool
) -> None:
    one = ledger()

    one.expect(("evidence", 0, "p50"), should, scale=2.0)

    assert bool(one.findings().mismatches) is differs


def test_a_whole_number_has_no_tolerance() -> None:
    one = ledger(relative=1.0)

    one.expect(("evidence", 0, "count"), 4)

    assert [found.place for found in one.findings().mismatches] == ["/evidence/0/count"]


@pytest.mark.parametrize(
    ("should", "named"),
    [
        (["a"], [("/words/1", "b", None)]),
        (["a", "b", "c"], [("/words", None, "c")]),
        (["a", "b", "b"], [("/words", "2 entries", "3 entries")]),
    ],
)
def test_an_entry_too_many_or_too_few_is_named_by_itself(
    should: list[str], named: list[tuple[str, str | None, str | None]]
) -> None:
    one = ledger()

    one.expect(("words",), should)

    found = [(each.place, each.says, each.should) for each in one.findings().mismatches]
    assert found == named
    assert one.document["words"] == should


def test_every_leaf_that_nobody_expected_is_listed() -> None:
    one = ledger()
    one.expect(("evidence", 0), STORED["evidence"][0])
    one.expect(("evidence", 1, "p50"), 2.5)
    one.give_up(("words",), "too hard")

    found = one.findings()

    listed = {(gap.what, gap.count, gap.reason) for gap in found.unverified}
    assert listed == {
        ("run.json /started", 1, RECORDED),
        ("run.json /evidence/*/count", 1, RECORDED),
        ("run.json /evidence/*/extra", 1, RECORDED),
        ("run.json /words", 2, "too hard"),
    }
    assert (found.checked.numbers, found.checked.fields) == (3, 1)


def test_a_field_that_no_record_of_the_file_has_is_older_and_not_wrong() -> None:
    raw = copy.deepcopy(STORED)
    for each in raw["evidence"]:
        del each["extra"]
    one = ledger(raw)

    one.expect(("evidence", 0), {"p50": 1.5, "count": 3, "extra": 9.0})

    assert one.findings().mismatches == ()
    gaps = [(gap.what, gap.count, gap.reason) for gap in one.findings().unverified]
    assert ("run.json /evidence/*/extra", 1, OLDER) in gaps
    assert one.document["evidence"][0]["extra"] is None


def test_a_field_that_only_one_record_lacks_is_wrong() -> None:
    raw = copy.deepcopy(STORED)
    del raw["evidence"][0]["extra"]
    one = ledger(raw)

    one.expect(("evidence", 0), {"p50": 1.5, "count": 3, "extra": 9.0})

    assert [found.place for found in one.findings().mismatches] == ["/evidence/0/extra"]

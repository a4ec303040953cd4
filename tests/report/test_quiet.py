"""The section about disturbances: what was amiss, what was fine, why trials ended, who left."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlopt.report.diagnostics import wandering, was_it_quiet
from mlopt.report.view import build_view
from mlopt.types.measurement import Diagnostic, Evidence
from mlopt.types.run import CandidateResult, Run

from .synthetic import make_run

CALM = Diagnostic(name="drift", status="ok", seen="+0.1%")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("quiet"))


def with_diagnostics(run: Run, *found: Diagnostic, walked: float | None = None) -> Run:
    """The run with the same diagnostics everywhere."""
    everywhere = {"diagnostics": found, "walked": walked}

    def change(evidence: Evidence) -> Evidence:
        changed = [m.model_copy(update=everywhere) for m in evidence.measurements]
        return evidence.model_copy(update={"measurements": tuple(changed)})

    candidates = []
    for result in run.candidates:
        parts = {"selection": result.selection, "confirmation": result.confirmation}
        update = {name: part and change(part) for name, part in parts.items()}
        candidates.append(result.model_copy(update=update))
    return run.model_copy(update={"candidates": tuple(candidates)})


def test_a_finding_of_all_candidates_is_one_row(run: Run) -> None:
    section = was_it_quiet(run)
    assert section is not None
    assert section.table is not None
    rows = section.table.rows
    busy = "others took 20% of the processors"
    assert ("all 5", "selection", "other load", busy) in rows
    assert ("`int8-static`", "confirmation", "other load", busy) in rows
    unstable = [row for row in rows if row[2] == "unstable"]
    assert [row[0] for row in unstable] == ["`pytorch-eager`"]


def test_advice_is_given_once_for_each_kind(run: Run) -> None:
    section = was_it_quiet(run)
    assert section is not None
    assert section.notes.count("Other load: close other programs.") == 1


def test_what_was_fine_and_what_is_not_known_are_told_apart(run: Run) -> None:
    section = was_it_quiet(run)
    assert section is not None
    assert section.summary == (
        "Not entirely. Looked at and fine throughout: drift. Not known: steal."
    )


def test_a_quiet_machine_has_no_table(run: Run) -> None:
    section = was_it_quiet(with_diagnostics(run, CALM))
    assert section is not None
    assert section.table is None
    assert section.summary == (
        "Yes, as far as can be seen. Looked at and fine throughout: drift."
    )  # fmt: skip


def test_a_run_of_before_there_were_diagnostics_says_so(run: Run) -> None:
    section = was_it_quiet(with_diagnostics(run))
    assert section is not None
    assert section.summary == "Nothing but the clock was looked at in this run."


def test_why_each_trial_stopped_is_told(run: Run) -> None:
    section = was_it_quiet(run)
    assert section is not None
    reason = "stopped because: the schedule of 5 launches was done."
    assert f"The selection {reason}" in section.notes
    assert f"The confirmation {reason}" in section.notes


def test_a_candidate_that_left_is_listed_with_the_samples_it_had(run: Run) -> None:
    left = was_it_quiet(replace_one(run, "int8-dynamic", "slower in 57 of 60 rounds"))
    assert left is not None
    assert left.notes[-1] == (
        "`int8-dynamic` left early, with 1,500 samples in 60 rounds of 5 launches: "
        "slower in 57 of 60 rounds."
    )


def test_where_a_latency_wandered_the_tables_say_that_there_is_no_level(run: Run) -> None:
    walk = Diagnostic(name="random walk", status="warning", seen="ratio 0.2", advice="wait")
    notes = build_view(with_diagnostics(run, walk), ()).considered.notes
    assert any("`int8-static`" in note and "no level exists" in note for note in notes)
    assert any("no line of the budget is judged" in note for note in notes), "how far is not known"
    far = build_view(with_diagnostics(run, walk, walked=1.5), ()).considered.notes
    assert any("judged as if it went twice as far" in note for note in far)
    assert not build_view(run, ()).considered.notes


def test_a_latency_that_wandered_only_in_the_confirmation_is_told_with_its_place(run: Run) -> None:
    walk = Diagnostic(name="random walk", status="warning", seen="ratio 0.2", advice="wait")
    everywhere = with_diagnostics(run, walk)
    candidates = tuple(
        new.model_copy(update={"selection": old.selection})
        for new, old in zip(everywhere.candidates, run.candidates, strict=True)
    )
    only_late = run.model_copy(update={"candidates": candidates})
    assert "`int8-static` (confirmation)" in wandering(only_late)
    assert not [one for one in wandering(only_late) if "selection" in one]
    assert "`int8-static` (selection; confirmation)" in wandering(everywhere)


def test_a_run_that_timed_nothing_has_no_such_section(run: Run) -> None:
    bare = tuple(CandidateResult(plan=c.plan) for c in run.candidates)
    assert was_it_quiet(run.model_copy(update={"candidates": bare})) is None


def test_what_stands_in_the_section_is_not_repeated_among_the_warnings(
    standard: tuple[Run, Path],
) -> None:
    text = standard[1].read_text("utf-8")
    assert text.count("medians of blocks: 1.2 to 1.9 ms") == 1
    assert "### Was the machine quiet?" in text


def replace_one(run: Run, name: str, left_because: str) -> Run:
    """The run in which one candidate left the selection."""
    found = []
    for result in run.candidates:
        if result.name == name and result.selection is not None:
            left = result.selection.model_copy(update={"left_because": left_because})
            found.append(result.model_copy(update={"selection": left}))
        else:
            found.append(result)
    return run.model_copy(update={"candidates": tuple(found)})

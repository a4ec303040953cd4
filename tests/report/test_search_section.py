"""The report's section on how much of a space of choices was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlopt.report import render_adr
from mlopt.report.search import MOST_ROWS, SearchSection, search_section
from mlopt.report.view import build_view
from mlopt.search.front import summarize_search
from mlopt.types.run import CandidateResult, Failure, Run

from .synthetic import Spec, planned, simple_run

FAST = "int8[calibration=minmax]"
EXACT = "int8[calibration=entropy]"
BEATEN = "int8[calibration=percentile]"
SPECS = (
    Spec("fp32", 0.842, role="baseline"),
    Spec(FAST, 0.30, 790_000, gained=2, lost=62),
    Spec(EXACT, 0.36, 790_000, gained=4, lost=6),
    Spec(BEATEN, 0.40, 790_000, gained=4, lost=12),
)
CHOICES = {"calibration": ("minmax", "entropy", "percentile", "mse"), "reduce_range": (True, False)}
CAUSE = "no kernel for QLinearConv(10) on /srv/models/a.onnx"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three were measured, and two failed in the same way."""
    run = simple_run(tmp_path_factory.mktemp("run"), SPECS, winner=EXACT)
    failed = [
        CandidateResult(
            plan=planned(Spec(f"int8[calibration=mse,reduce_range={value}]", 1.0)),
            status="failed",
            failure=Failure(during="build", cause=CAUSE),
        )
        for value in (True, False)
    ]
    return run.model_copy(update={"candidates": (*run.candidates, *failed)})


def section(run: Run, *, asked: int | None = None, choices=CHOICES) -> SearchSection:
    names = [c.name for c in run.candidates if c.plan.role == "candidate"]
    summary = summarize_search("int8", "by the seed", choices, names[:asked], run)
    return search_section(run, summary)


def test_it_says_how_much_of_which_space_was_seen(run: Run) -> None:
    found = section(run)
    assert found.introduction == (
        "**5 of the 8 combinations (62.5%)** of `calibration` (4 values) and `reduce_range` "
        "(2 values) were seen. How they were chosen: by the seed."
    )
    assert any(note.startswith("3 combinations were not seen") for note in found.notes)


def test_the_table_has_the_front_with_intervals_the_fastest_first(run: Run) -> None:
    table = section(run).front
    assert table.header == ("combination", "p50 ratio", "loss of accuracy, points", "may ship")
    assert [row[0] for row in table.rows] == [
        "`calibration=minmax@cpu`",
        "**`calibration=entropy@cpu`**",
    ]
    assert table.rows[1][1] == "0.428 (0.419 to 0.436)"
    assert table.rows[1][2] == "+0.22 (-0.59 to +1.04)"
    assert [row[3] for row in table.rows] == ["no", "yes"]


def test_failures_are_counted_by_their_cause_without_paths(run: Run) -> None:
    assert section(run).failures.rows == (
        ("2", "build", "no kernel for QLinearConv(10) on …/a.onnx"),
    )
    assert section(run, asked=3).failures is None


def test_a_front_of_which_nothing_may_ship_says_so(run: Run) -> None:
    assert any("None of these may ship" in note for note in section(run, asked=1).notes)
    assert not any("None of these may ship" in note for note in section(run).notes)


def test_a_space_that_was_seen_to_its_end_leaves_nothing_open(run: Run) -> None:
    found = section(run, asked=3, choices={"calibration": CHOICES["calibration"][:3]})
    assert found.introduction.startswith("**All of the 3 combinations** of `calibration`")
    assert not any("not seen" in note for note in found.notes)


def test_what_was_asked_for_and_never_came_to_is_said(run: Run) -> None:
    waiting = CandidateResult(plan=planned(Spec("int8[calibration=mse]", 1.0)))
    found = section(run.model_copy(update={"candidates": (*run.candidates, waiting)}))
    assert "1 combination was asked for and neither measured nor failed" in found.notes[-1]


def test_a_long_front_is_cut_and_says_so(tmp_path: Path) -> None:
    count = MOST_ROWS + 2
    specs = tuple(Spec(f"int8[exclude={i}]", 0.2 + i / 50, lost=40 - 2 * i) for i in range(count))
    run = simple_run(tmp_path, (SPECS[0], *specs), winner=None)
    found = section(run, choices={"exclude": tuple(range(count))})
    assert len(found.front.rows) == MOST_ROWS
    assert f"the {count} combinations that no other one beats" in found.notes[0]
    assert f"the {MOST_ROWS} fastest are shown" in found.notes[0]


def test_without_a_measurement_there_is_no_table(run: Run) -> None:
    failed = tuple(one for one in run.candidates if one.failure is not None)
    found = section(run.model_copy(update={"candidates": failed}))
    assert found.front is None
    assert "**2 of the 8 combinations" in found.introduction


def test_the_report_of_a_run_that_searched_has_the_section(run: Run) -> None:
    assert "How much of the space" not in render_adr(build_view(run, ()))
    names = [c.name for c in run.candidates if c.plan.role == "candidate"]
    summary = summarize_search("int8", "by the seed", CHOICES, names, run)
    text = render_adr(build_view(run.model_copy(update={"search": (summary,)}), ()))
    start = text.index("### How much of the space of `int8` was seen")
    assert start < text.index("**5 of the 8 combinations (62.5%)**")
    assert text.index("| failed | during |") < text.index("## Decision outcome")
    assert "\n\n\n" not in text

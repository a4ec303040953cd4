"""The section on slices, and the figures beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mlopt.report import write_report
from mlopt.report.effects import effects
from mlopt.report.quality import mcnemar_in_words
from mlopt.report.slices import MOST_ROWS, SliceSection, slice_section
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import SliceResult
from mlopt.types.plan import Margin, SplitSummary
from mlopt.types.run import Run

from .synthetic import make_run, store


def part(name: str, **changes: Any) -> SliceResult:
    return SliceResult.model_validate(
        {
            "name": name,
            "metric": "accuracy",
            "examples": 90,
            "value": 0.9,
            "baseline_value": 0.91,
            "delta": Estimate(value=-0.01, low=-0.05, high=0.03),
            "p_value": 1.0,
        }
        | changes
    )


LOST = part(
    "class 3",
    value=0.61,
    delta=Estimate(value=-0.3, low=-0.4, high=-0.2),
    p_value=0.0004,
    least_loss=0.15,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


def with_slices(run: Run, *slices: SliceResult, **quality: Any) -> Run:
    """The run with slices of its chosen candidate on the holdout."""
    candidates = []
    for one in run.candidates:
        if one.confirmation is not None and one.confirmation.quality is not None:
            found = one.confirmation.quality.model_copy(update={"slices": slices, **quality})
            confirmation = one.confirmation.model_copy(update={"quality": found})
            one = one.model_copy(update={"confirmation": confirmation})
        candidates.append(one)
    return run.model_copy(update={"candidates": tuple(candidates)})


def section(run: Run, *slices: SliceResult) -> SliceSection:
    found = slice_section(with_slices(run, *slices))
    assert found is not None
    return found


def test_there_is_no_section_without_slices(run: Run) -> None:
    assert slice_section(run) is None


def test_a_slice_that_lost_beyond_the_margin_is_named_with_the_least_that_it_lost(run: Run) -> None:
    found = section(run, LOST, part("class 1"))
    assert found.table.rows[0] == ("`class 3`", "90", "61.00%", "-30 (-40 to -20)", "< 0.001")
    assert found.table.rows[1][-1] == "1"
    assert "2 slices of holdout were looked at" in found.introduction
    assert "adjusted for 2 slices by Holm" in found.introduction
    assert found.notes[0] == (
        "1 slice surely lost: `class 3`. **More than the margin of all examples together**: `class 3` "
        "at least 15 points."
    )


def test_a_loss_within_the_margin_is_no_alarm(run: Run) -> None:
    notes = section(run, LOST.model_copy(update={"least_loss": 0.01})).notes
    assert "None of them surely lost more than the margin" in notes[0]


def test_no_loss_that_was_seen_does_not_mean_that_there_is_none(run: Run) -> None:
    notes = section(run, part("class 0"), part("class 1", examples=30)).notes
    assert notes[0] == "No slice shows a loss, which does not mean that none lost."
    assert "smallest slice is `class 1`, of 30 examples" in notes[1]
    assert "a loss of 11 points cannot be excluded" in notes[1]


def test_a_slice_of_too_few_examples_says_so_in_place_of_a_p_value(run: Run) -> None:
    # With 12 slices, even 7 of 7 lost have the adjusted p-value 12 / 2^7 = 0.09; 8 of 8 have 0.047.
    few = [part("seven", examples=7), part("eight", examples=8)]
    rows = section(run, *few, *(part(f"class {i}") for i in range(10))).table.rows
    assert rows[0][-1] == "7 examples: nothing can be shown"
    assert rows[1][-1] == "1"


def test_the_worst_of_many_are_shown(run: Run) -> None:
    found = section(run, *(part(f"class {i}") for i in range(100)))
    assert len(found.table.rows) == MOST_ROWS
    assert "100 slices" in found.introduction
    assert f"the {MOST_ROWS} that most surely lost are shown" in found.introduction


def test_another_metric_and_a_slice_that_has_none_are_said(run: Run) -> None:
    auroc = Margin(metric="auroc", higher_is_better=True, max_drop=0.01)
    plan = run.plan.model_copy(update={"margins": (auroc,), "slices": {"dark": "data:dark"}})
    found = section(run.model_copy(update={"plan": plan}), part("class 0"))
    assert (
        "They have their `accuracy`: `auroc`, which decides, is not defined" in found.introduction
    )
    assert found.notes[-1].startswith("`accuracy` is not defined on `dark`")


def test_mcnemars_p_value_stands_with_the_flips(run: Run) -> None:
    winner = run.candidate("int8-static")
    assert winner.confirmation is not None
    assert winner.confirmation.quality is not None
    result = winner.confirmation.quality.metrics[0]
    tested = result.model_copy(update={"p_value": 0.7011})
    assert mcnemar_in_words(result) == ""
    assert mcnemar_in_words(tested) == " (McNemar's exact test: p = 0.7)"
    grouped = tested.model_copy(update={"p_value": 1e-5, "units": 40})
    assert mcnemar_in_words(grouped) == " (McNemar's test over 40 groups: p < 0.001)"
    seen = with_slices(run, metrics=(tested,)).candidate("int8-static")
    texts = [effect.text for effect in effects(run, seen, seen.confirmation)]
    assert any("became right and 15 wrong (McNemar's exact test: p = 0.7)" in t for t in texts)


def test_the_report_shows_slices_groups_and_what_broke(tmp_path: Path) -> None:
    run = with_slices(make_run(tmp_path), LOST, part("dark"), broken_rate=0.0167)
    summary = SplitSummary(examples=900, sha256="0" * 64, duplicates=0, groups=45)
    plan = run.plan.model_copy(update={"data": {**run.plan.data, "holdout": summary}})
    store(tmp_path, run.model_copy(update={"plan": plan}))
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert text.index("### Slices") < text.index("### Consequences")
    assert "| `class 3` |" in text
    assert "The 45 groups of the 900 holdout examples can exclude a loss of" in text
    assert re.search(r"\| right before, wrong now +\| - +\| 1\.7%", text)
    assert "1.7% were right and became wrong" in text
    assert "\n\n\n" not in text
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= 120

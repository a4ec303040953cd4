"""A gate in words, as JUnit XML, and as GitHub shows it."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mlopt.pipeline.gate_lines import runs_line
from mlopt.report.gate import gate_markdown, gate_rows, gate_sentence, timing_in_words
from mlopt.report.github import command, workflow_commands
from mlopt.report.junit import junit
from mlopt.types.estimate import Estimate
from mlopt.types.gate import AbsoluteTiming, GateReport, GateTiming

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))
from gate_cases import quality, report

SAME = Estimate(value=1.0, low=0.995, high=1.005)
WIDE = Estimate(value=1.02, low=0.9, high=1.16)
AWKWARD = 'a<b>&"c"\x1b[31m]]>.onnx'


@pytest.fixture
def passed() -> GateReport:
    return report(SAME, "PASS", quality(-0.005, 0.005))


@pytest.fixture
def failed() -> GateReport:
    """Inconclusive on latency, and wrong."""
    return report(
        WIDE,
        "INCONCLUSIVE",
        quality(-0.3, -0.2),
        budget=("size <= 2 kB",),
        ship=AWKWARD,
        warnings=("100% of it,\nis odd: look",),
    )


def test_the_sentence_names_the_lines_that_made_the_verdict(
    passed: GateReport, failed: GateReport
) -> None:
    assert gate_sentence(passed) == "PASS: new.onnx keeps all 3 lines of the contract."
    sentence = gate_sentence(failed)
    assert sentence.startswith("FAIL: ")
    assert "fails 2 of 4 lines: accuracy drops by less than 0.01 (against the baseline" in sentence
    assert "p50" not in sentence
    unsure = report(WIDE, "INCONCLUSIVE", quality(-0.005, 0.005))
    assert "is not settled on 1 of 3 lines: p50 at most 2% slower" in gate_sentence(unsure)


def test_rows_say_what_was_observed_and_what_would_settle_it(failed: GateReport) -> None:
    first, size, *_ = gate_rows(failed)
    assert first.observed == "p50 ratio 1.020 (0.900 to 1.160)"
    assert "--max-seconds" in first.settles
    assert (size.outcome, size.observed, size.settles) == ("PASS", "1 kB", "")


def test_the_confidence_of_a_look_is_said(passed: GateReport) -> None:
    words = timing_in_words(passed)
    assert "p50 ratio 1.000 (0.995 to 1.005), a 98.1% interval of look 1 of 5, and all" in words
    assert "planned looks together err at most 2.5%" in words
    plain = GateTiming.model_validate(
        passed.timing.model_dump() | {"looks": 0, "p50_ratio_confidence": 0.95}  # type: ignore[union-attr]
    )
    words = timing_in_words(passed.model_copy(update={"timing": plain}))
    assert "a 95% interval; p99" in words
    assert "look" not in words.partition("Ended")[0]


def test_the_trial_that_the_budget_is_judged_on_is_told_with_its_own_counts(
    passed: GateReport,
) -> None:
    more = AbsoluteTiming(
        workload="batch-1",
        p50_ms=SAME,
        p99_ms=None,
        p99_ratio=None,
        launches=7,
        rounds=84,
        samples=2000,
        stopped_because="the time limit",
        extends=True,
    )
    words = timing_in_words(passed.model_copy(update={"absolute": (more,)}))
    assert "4 launches, 48 rounds, 1000 samples" in words
    assert "a trial that followed: 7 launches, 84 rounds, 2000 samples" in words
    same = more.model_copy(update={"extends": False})
    assert "followed" not in timing_in_words(passed.model_copy(update={"absolute": (same,)}))


def test_what_cannot_be_run_fails_with_its_cause_wherever_it_is_read(passed: GateReport) -> None:
    line = runs_line("it answers NaN")
    broken = passed.model_copy(update={"lines": (line,), "timing": None, "quality": {}})
    assert gate_sentence(broken) == ("FAIL: new.onnx fails 1 of 1 lines: it runs (it answers NaN).")
    assert gate_rows(broken)[0].observed == "it answers NaN"
    (case,) = ET.fromstring(junit(broken)).iter("testcase")
    (failure,) = case
    assert (case.get("name"), failure.get("message")) == ("it runs", "it answers NaN")
    assert "it answers NaN" in workflow_commands(broken)[0]
    assert "Nothing was timed" in gate_markdown(broken)


def test_junit_has_a_case_for_each_line_and_unsettled_ones_are_no_passes(
    failed: GateReport,
) -> None:
    suite = ET.fromstring(junit(failed))[0]  # it is our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "2", "1")
    cases = suite.findall("testcase")
    assert len(cases) == 4
    kinds = {str(case.get("classname")): [child.tag for child in case] for case in cases}
    assert kinds == {
        "digits.regression": ["error"],
        "digits.budget": ["system-out"],
        "digits.accuracy": ["failure"],
    }
    assert suite.findall(".//skipped") == []


def test_junit_is_well_formed_whatever_models_are_called(failed: GateReport) -> None:
    root = ET.fromstring(junit(failed))
    values = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert values["ship"] == 'a<b>&"c"\ufffd[31m]]>.onnx'
    assert "100% of it" in str(root[0].findtext("system-out"))


def test_a_pass_has_no_failure_in_junit(passed: GateReport) -> None:
    root = ET.fromstring(junit(passed))
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    assert [found.tag for found in root.iter() if found.tag in {"failure", "error"}] == []


def test_commands_are_escaped_as_the_runner_reads_them() -> None:
    assert command("error", "a: 100%, b\n", "50%: c,\r\nd") == (
        "::error title=a%3A 100%25%2C b%0A::50%25: c,%0D%0Ad"
    )


def test_what_failed_is_an_error_and_what_is_not_settled_a_warning(
    passed: GateReport, failed: GateReport
) -> None:
    found = workflow_commands(failed)
    assert [one.partition(" ")[0] for one in found] == [
        "::error",
        "::error",
        "::warning",
        "::warning",
    ]
    assert "accuracy drops" in found[0]
    assert "INCONCLUSIVE" in found[2]
    assert found[3].endswith("::100%25 of it,%0Ais odd: look")
    assert all("\n" not in one for one in found)
    assert [one.partition(" ")[0] for one in workflow_commands(passed)] == ["::notice"]


def test_the_step_summary_is_a_table_that_no_name_breaks(failed: GateReport) -> None:
    text = gate_markdown(failed.model_copy(update={"ship": "a|b\n# c"}))
    lines = text.splitlines()
    assert lines[0] == "## mlopt gate: digits"
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 4
    assert all(line.replace("\\|", "").count("|") == 5 for line in table)
    assert not any(line.startswith("# ") for line in lines)
    assert "- warning: 100% of it, is odd: look" in lines

"""The terminal's summary agrees with the report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mlopt.report import summary_rows
from mlopt.types.run import CandidateResult, Run

from .synthetic import Spec, make_run, planned


def test_every_candidate_has_a_row_in_the_order_of_the_plan(standard: tuple[Run, Path]) -> None:
    run, _ = standard
    assert [row.name for row in summary_rows(run)] == [c.name for c in run.candidates]


def test_the_cells_are_those_of_the_report(standard: tuple[Run, Path]) -> None:
    run, path = standard
    text = path.read_text("utf-8")
    for row in summary_rows(run):
        for cell in (row.p50, row.p99, row.ratio, row.delta):
            assert f"| {cell} " in text or cell == "-"


def test_the_verdict_says_what_became_of_each(standard: tuple[Run, Path]) -> None:
    verdicts = {row.name: row.verdict for row in summary_rows(standard[0])}
    assert verdicts["pytorch-eager"] == "reference"
    assert verdicts["fp32"] == "FAIL"
    assert verdicts["int8-static"] == "PASS"
    assert verdicts["qat[epochs=3]"] == "failed"


def test_a_candidate_that_was_not_measured_says_so(tmp_path: Path) -> None:
    waiting = CandidateResult(plan=planned(Spec("late", 1.0)))
    row = summary_rows(make_run(tmp_path, candidates=(waiting,), decision=None))[0]
    assert (row.p50, row.ratio, row.verdict) == ("-", "-", "not measured")


def test_importing_the_report_loads_neither_matplotlib_nor_jinja2() -> None:
    code = "import sys, mlopt.report; sys.exit(bool({'matplotlib', 'jinja2'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0

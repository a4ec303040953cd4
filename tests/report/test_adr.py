"""The report of a complete run: golden file, stability, and what must never stand in it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from mlopt.errors import RunError
from mlopt.report import write_report
from mlopt.types.run import Run

from .synthetic import make_run

GOLDEN = Path(__file__).parent / "golden" / "adr.md"
UPDATE = "MLOPT_UPDATE_GOLDEN"


def test_the_report_equals_the_golden_file(standard: tuple[Run, Path]) -> None:
    text = standard[1].read_text(encoding="utf-8")
    if os.environ.get(UPDATE):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), f"set {UPDATE}=1 to accept the new report"


def test_rendering_again_gives_the_same_bytes(standard: tuple[Run, Path], tmp_path: Path) -> None:
    run_dir = standard[1].parent
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    for produced in ("adr.md", "plots/tradeoff.svg", "plots/latency.svg"):
        (copy / produced).unlink()
    write_report(copy)
    for produced in ("adr.md", "plots/tradeoff.svg", "plots/latency.svg"):
        assert (copy / produced).read_bytes() == (run_dir / produced).read_bytes()


def test_no_row_of_a_table_is_wider_than_a_page(standard: tuple[Run, Path]) -> None:
    rows = [line for line in standard[1].read_text("utf-8").splitlines() if line.startswith("|")]
    assert rows
    assert max(map(len, rows)) <= 120


def test_every_row_has_as_many_cells_as_its_header(standard: tuple[Run, Path]) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", standard[1].read_text("utf-8"), re.MULTILINE)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1, block


def test_no_absolute_path_stands_in_the_report(standard: tuple[Run, Path]) -> None:
    text = standard[1].read_text("utf-8")
    assert "/home" not in text
    assert "/work" not in text
    assert str(standard[1].parent) not in text
    assert "…/train.py" in text


def test_the_decision_is_one_sentence_with_its_numbers(standard: tuple[Run, Path]) -> None:
    text = standard[1].read_text("utf-8")
    assert "# Ship `int8-static` as `tiny-cnn`" in text
    assert "- Status: **proposed**" in text
    sentence = next(line for line in text.splitlines() if line.startswith("> "))
    assert sentence.startswith(
        "> We ship `int8-static`: 2.7x faster at p50 than `fp32` (ratio 0.37"
    )
    assert "95% interval 0.367 to 0.382" in sentence
    assert "on 900 holdout examples." in sentence


def test_selection_and_confirmation_stand_side_by_side(standard: tuple[Run, Path]) -> None:
    row = r"\| p50 ratio +\| 0\.378 \(.*\) +\| 0\.374 \(.*\) +\|"
    assert re.search(row, standard[1].read_text("utf-8"))


def test_the_delta_is_translated_into_errors_a_day(standard: tuple[Run, Path]) -> None:
    text = standard[1].read_text("utf-8")
    assert (
        "at 1,000,000 predictions a day: 3,000 more errors a day (95% interval: 9,000 fewer" in text
    )


def test_the_eager_reference_is_shown_and_never_chosen(standard: tuple[Run, Path]) -> None:
    text = standard[1].read_text("utf-8")
    assert "| `pytorch-eager` " in text
    assert "`pytorch-eager`: the reference that users start from: shown, and never chosen." in text


def test_a_failure_shows_its_cause_and_the_tail_of_its_log(standard: tuple[Run, Path]) -> None:
    text = standard[1].read_text("utf-8")
    assert r"`qat[epochs=3]`: failed while it was built: the loss is not finite" in text
    assert r"(lr=\*1e-2\*)" in text
    log = text.split("<details><summary>Last lines of the log of qat[epochs=3]")[1]
    assert log.startswith("</summary>\n\n````text\nTraceback")


def test_pipes_in_names_are_escaped_inside_tables_only(standard: tuple[Run, Path]) -> None:
    text = standard[1].read_text("utf-8")
    assert r"| `int8-static[calibration=entropy\|wide]@cpu` |" in text
    assert "### `int8-static[calibration=entropy|wide]@cpu`" in text


def test_both_plots_are_embedded_with_words_for_those_who_cannot_see(
    standard: tuple[Run, Path],
) -> None:
    found = re.findall(r"!\[([^\]]+)\]\((plots/\w+\.svg)\)", standard[1].read_text("utf-8"))
    assert [path for _, path in found] == ["plots/tradeoff.svg", "plots/latency.svg"]
    assert all(len(words) > 40 for words, _ in found)


def test_names_the_sample_file_that_is_missing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    selection = run.baseline.selection
    assert selection is not None
    lost = selection.measurements[0].samples.path
    (tmp_path / lost).unlink()
    with pytest.raises(RunError, match=lost):
        write_report(tmp_path)


def test_names_the_sample_file_that_is_damaged(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    selection = run.baseline.selection
    assert selection is not None
    broken = selection.measurements[0].samples.path
    (tmp_path / broken).write_bytes(b"PK\x03\x04 this is no archive")
    with pytest.raises(RunError, match="is damaged"):
        write_report(tmp_path)


def test_removes_a_plot_that_this_run_does_not_have(tmp_path: Path) -> None:
    make_run(tmp_path)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "old.svg").write_text("<svg/>")
    write_report(tmp_path)
    assert not (tmp_path / "plots" / "old.svg").exists()

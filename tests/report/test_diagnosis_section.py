"""The section of the report that says why the chosen one is as fast as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlopt.report.diagnosis import diagnosis_section, findings, headline, parts
from mlopt.report.render import render_adr
from mlopt.report.view import build_view
from mlopt.types.diagnosis import Peaks
from mlopt.types.run import Run

sys.path.append(str(Path(__file__).parents[1] / "diagnosis"))
from diagnoses import WITH_EVERYTHING, diagnosis, node, operator


def test_nothing_diagnosed_is_no_section() -> None:
    assert diagnosis_section(None) is None


def test_the_section_holds_every_part() -> None:
    section = diagnosis_section(WITH_EVERYTHING)

    assert section is not None
    assert [title for title, _ in section.tables] == [
        "Where the time goes",
        "The slowest nodes",
        "QuantizeLinear and DequantizeLinear that were not fused",
        "Operators without an INT8 kernel",
        "Nodes that fell back from openvino",
    ]
    text = "\n".join(str(table) for _, table in section.tables)
    assert "`QLinearConv`" in text
    assert "`/block/Tanh`" in text
    assert section.advice == ("pass fuse: parts of Gelu take 10%.",)
    assert section.notes == ("Inputs are synthetic.",)
    words = " ".join(section.findings)
    for part in ("In INT8 run 2 QLinearConv", "2 islands of float", "because of avx512_vnni"):
        assert part in words


def test_names_are_bare_on_a_terminal() -> None:
    cells = {cell for part in parts(WITH_EVERYTHING) for row in part.rows for cell in row}

    assert "QLinearConv" in cells
    assert not any("`" in cell for cell in cells)


def test_a_float_model_on_one_provider_has_two_tables() -> None:
    assert [part.title for part in parts(diagnosis())] == [
        "Where the time goes",
        "The slowest nodes",
    ]


def test_rates_stand_beside_the_peak_of_their_arithmetic() -> None:
    times, slowest = parts(diagnosis())

    # 100 million in 0.9 ms are 111 GMAC/s, of 500.
    assert times.rows[0] == ("QLinearConv", "CPU", "2", "0.900 ms", "90.0%", "111", "22% int8")
    assert times.rows[1][-2:] == ("", "")
    # 60 million in 0.5 ms; 300 of them a byte, where 500 / 10 would keep the arithmetic busy.
    assert slowest.rows[0][4:] == ("300", "120", "24% int8", "arithmetic")


def test_a_product_that_reads_more_than_it_multiplies_waits_for_the_memory() -> None:
    lean = node("fc", 0.5, macs=1_000_000, bytes_moved=1_000_000)
    (_, slowest) = parts(diagnosis(slowest=(lean,)))

    assert slowest.rows[0][-1] == "memory"


def test_without_peaks_there_is_no_share_of_them() -> None:
    found = diagnosis(peaks=Peaks(how="not measured: no reason"))
    times, slowest = parts(found)

    assert times.rows[0][-2:] == ("111", "")
    assert slowest.rows[0][-1] == ""
    assert findings(found)[-1] == "peaks of this machine: not measured: no reason"


def test_the_share_of_the_peak_is_of_the_whole_inference() -> None:
    words = " ".join(findings(diagnosis()))

    assert "multiplies 100 million times" in words
    assert "reaches 100 GMAC/s: 20.0% of the INT8 peak" in words


def test_the_headline_tells_the_time_with_the_profiler_from_that_without() -> None:
    assert headline(diagnosis()).startswith("1.00 ms an inference on cpu, batch 1 (median")
    assert "1.10 ms under the profiler" in headline(diagnosis())


def test_many_operators_are_summed_up() -> None:
    many = tuple(operator(f"Op{i}", 0.05) for i in range(20))
    times, *_ = parts(diagnosis(operators=many))

    assert len(times.rows) == 13
    assert times.rows[-1] == ("8 others", "", "16", "0.400 ms", "40.0%", "", "")


@pytest.mark.parametrize("length", [20, 200])
def test_long_names_of_nodes_keep_their_end(length: int) -> None:
    (_, slowest) = parts(diagnosis(slowest=(node("x" * length + "/MatMul", 0.5, macs=9),)))

    assert slowest.rows[0][0].endswith("/MatMul")
    assert len(slowest.rows[0][0]) <= 48


def test_the_report_says_why_the_chosen_one_is_as_fast_as_it_is(
    standard: tuple[Run, Path],
) -> None:
    run, _ = standard
    text = render_adr(build_view(run.model_copy(update={"diagnosis": WITH_EVERYTHING}), ()))

    _, found = text.split("### Why it is as fast as it is\n\n1.00 ms an inference on openvino")
    section, _ = found.split("\n### ", 1)
    assert "\n**The slowest nodes**\n\n| node " in section
    assert "\nWhat to try next:\n\n1. pass fuse: parts of Gelu take 10%.\n" in section
    assert "### Why it is" not in render_adr(build_view(run, ()))

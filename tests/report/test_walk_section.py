"""The report's section "Mixed precision"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlopt.report import write_report
from mlopt.report.steps import step_trees
from mlopt.report.verify import check_report
from mlopt.report.walk import draw_walks, walk_section, walks
from mlopt.types.candidate import Step
from mlopt.types.run import CandidateResult, Failure, Run

from .synthetic import Laboratory, Spec, decide, make_plan, make_run, store

LOSSES = {0: 80, 2: 22, 3: 9, 5: 6}
"""Right answers that are lost, of 900, by the number of layers in float; 18 are the margin."""

SPECS = (
    Spec("fp32", 0.842, role="baseline"),
    Spec("int8-static", 0.318, lost=LOSSES[0]),
    Spec("int8-dynamic", 1.31, lost=4),
)


def on_walk(result: CandidateResult, kept: int, provider: str) -> CandidateResult:
    """The candidate with layers in float, each a convolution and a ReLU."""
    nodes = [f"{kind}{i}" for i in range(kept) for kind in ("conv", "relu")]
    quantizer = Step(transformation="int8_static", options={"exclude": nodes} if kept else {})
    changes: dict[str, Any] = {
        "recipe": "int8-static",
        "provider": provider,
        "choices": {"float": kept} if kept else {},
        "steps": (Step(transformation="export_onnx"), quantizer),
    }
    return result.model_copy(update={"plan": result.plan.model_copy(update=changes)})


def walked_run(run_dir: Path, *, untimed: bool = False, losses: dict[int, int] = LOSSES) -> Run:
    """A run in which INT8 lost too much, on two providers; on the second there is no walk."""
    laboratory = Laboratory(run_dir)
    fixed = [laboratory.result(SPECS[0]), laboratory.result(SPECS[2])]
    members = []
    for kept, lost in losses.items():
        name = f"int8-static[float={kept}]" if kept else "int8-static"
        spec = Spec(name, 0.318 + 0.03 * kept, lost=lost, gained=3)
        found = laboratory.result(spec, confirm=kept == 3)
        if untimed and kept and found.selection is not None:
            bare = found.selection.model_copy(update={"measurements": ()})
            found = found.model_copy(update={"selection": bare})
        members.append(on_walk(found, kept, "cpu"))
    elsewhere = laboratory.result(Spec("int8-static@openvino", 0.4, lost=4))
    results = (*fixed, *reversed(members), on_walk(elsewhere, 0, "openvino"))
    plan = make_plan(SPECS)
    winner = "int8-static[float=3]" if 3 in losses and not untimed else "fp32"
    run = make_run(run_dir).model_copy(
        update={"plan": plan, "candidates": results, "decision": decide(results, plan, winner)}
    )
    return store(run_dir, run)


def test_a_run_without_mixed_precision_has_no_such_section(standard: tuple[Run, Path]) -> None:
    assert walk_section(standard[0], ()) is None
    assert draw_walks(standard[0]) is None
    assert "Mixed precision" not in standard[1].read_text("utf-8")


def test_a_walk_is_what_differs_in_the_layers_in_float_alone(tmp_path: Path) -> None:
    (walk,) = walks(walked_run(tmp_path))
    assert [one.name for one in walk.results] == [
        "int8-static",
        "int8-static[float=2]",
        "int8-static[float=3]",
        "int8-static[float=5]",
    ]


def test_each_candidate_of_a_walk_has_its_row_the_fewest_in_float_first(tmp_path: Path) -> None:
    section = walk_section(walked_run(tmp_path), ())
    assert section is not None
    (titled,) = section.tables
    assert titled.title == "From `int8-static`"
    assert [(row[1], row[2], row[-1]) for row in titled.table.rows] == [
        ("0", "0", "FAIL"),
        ("2", "4", "INCONCLUSIVE"),
        ("3", "6", "PASS"),
        ("5", "10", "PASS"),
    ]
    assert titled.table.rows[2][0] == "**`int8-static[float=3]`**"
    assert titled.table.rows[2][4].startswith("0.48")
    assert titled.table.rows[2][5].startswith("-0.67")
    assert titled.table.header[5] == "accuracy delta, points"


def test_the_note_says_how_few_were_enough_and_what_that_gained(tmp_path: Path) -> None:
    section = walk_section(walked_run(tmp_path), ())
    assert section is not None
    assert section.notes == (
        "With 3 layers in float, `int8-static` keeps its quality, and with 2 it does not. "
        "`int8-static[float=3]` is 2.1x faster than `fp32`.",
    )


def test_where_none_is_good_enough_the_table_stands_without_latencies(tmp_path: Path) -> None:
    run = walked_run(tmp_path, untimed=True, losses={0: 80, 2: 60, 3: 50})
    section = walk_section(run, ())
    assert section is not None
    assert "None of the 2 candidates between `int8-static` and float" in section.notes[0]
    assert [row[3] for row in section.tables[0].table.rows][1:] == ["-", "-"]
    assert draw_walks(run) is None


def test_a_candidate_that_failed_says_so_in_place_of_a_verdict(tmp_path: Path) -> None:
    run = walked_run(tmp_path)
    failure = Failure(during="build", cause="no kernel")
    broken = [
        c.model_copy(update={"failure": failure, "selection": None})
        if c.name == "int8-static[float=5]"
        else c
        for c in run.candidates
    ]
    section = walk_section(run.model_copy(update={"candidates": tuple(broken)}), ())
    assert section is not None
    assert section.tables[0].table.rows[-1][-1] == "failed to build"


def test_the_report_draws_the_walk_and_can_be_verified(tmp_path: Path) -> None:
    run = walked_run(tmp_path)
    text = write_report(tmp_path).read_text("utf-8")
    assert text.index("### Mixed precision") < text.index("## Decision outcome")
    assert text.count("(plots/mixed-precision.svg)") == 1
    drawn = (tmp_path / "plots" / "mixed-precision.svg").read_bytes()
    assert drawn.startswith(b"<?xml")
    assert len(drawn) < 150_000
    found = check_report(run, tmp_path)
    assert found.mismatches == ()
    assert found.checked.plots == 3


def test_candidates_of_a_walk_are_no_steps_of_a_recipe(tmp_path: Path) -> None:
    assert step_trees(walked_run(tmp_path)) == []

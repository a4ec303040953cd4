"""What each step of a recipe gave and took: tables, notes, words and plots."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from mlopt.report import write_report
from mlopt.report.curves import draw_curves
from mlopt.report.facts import facts_text
from mlopt.report.markdown import WIDEST_ROW, fitting
from mlopt.report.options import options
from mlopt.report.quality import is_share
from mlopt.report.step_tables import step_section
from mlopt.report.steps import step_trees
from mlopt.report.tables import score_cells
from mlopt.report.text import against, counted
from mlopt.report.training import curves, read_training
from mlopt.types.artifact import LineageStep
from mlopt.types.candidate import Step
from mlopt.types.plan import Margin
from mlopt.types.run import Run

from .stepped import CAUSE, FAILED, HALF, PRUNING, stepped_run, training
from .synthetic import Laboratory, make_run, store
from .test_adr import UPDATE

GOLDEN = Path(__file__).parent / "golden" / "steps.md"
HEADING = "### What each step gave and took"


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run with recipes of several steps, and the path of its report."""
    run_dir = tmp_path_factory.mktemp("stepped")
    return stepped_run(run_dir), write_report(run_dir)


def section_of(report: Path) -> str:
    text = report.read_text("utf-8")
    return HEADING + text.split(HEADING)[1].split("## Decision outcome")[0]


def test_the_section_equals_the_golden_file(stepped: tuple[Run, Path]) -> None:
    text = section_of(stepped[1])
    if os.environ.get(UPDATE):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), f"set {UPDATE}=1 to accept the new report"


def test_steps_that_recipes_share_stand_in_the_table_once(stepped: tuple[Run, Path]) -> None:
    costs = section_of(stepped[1]).split("**Quality")[0]
    assert costs.count("`prune_channels`") == 1
    assert costs.count("· ↳ `distill`") == 1
    assert costs.count("· · ↳ `int8_static`") == 2


def test_a_step_taken_straight_from_the_model_stands_beside_the_recipes(
    stepped: tuple[Run, Path],
) -> None:
    (tree,) = step_trees(stepped[0])
    names = [form.result.name for form in tree.forms if form.depth == 1 and form.result]
    assert names == ["int8-static", "prune"]


def test_a_form_that_failed_has_dashes_and_a_reason(stepped: tuple[Run, Path]) -> None:
    section = section_of(stepped[1])
    assert re.search(r"\| · ↳ `finetune` +\| 0\.140M +\| 20\.4M +\| - +\| - +\| - ", section)
    assert f"- No figures for `{FAILED}`: failed while it was timed: {CAUSE}." in section


def test_a_form_that_was_never_planned_has_its_cost_and_a_reason(
    stepped: tuple[Run, Path],
) -> None:
    fewer = tuple(c for c in stepped[0].candidates if not c.name.endswith(":distill"))
    run = stepped[0].model_copy(update={"candidates": fewer})
    form = next(form for form in step_trees(run)[0].forms if form.label == "distill")
    assert form.result is None
    assert form.cost == (HALF["parameters"], HALF["macs"])
    section = step_section(run, ())
    assert section is not None
    assert "No figures for `distill`: no candidate of this run ends there." in section.notes


def test_options_that_differ_tell_siblings_apart(stepped: tuple[Run, Path]) -> None:
    run = stepped[0]
    other = run.candidate("prune").plan
    steps = (Step(transformation="prune_channels", options={"ratio": 0.7}), *other.steps[1:])
    plan = other.model_copy(update={"name": "prune-more", "steps": steps})
    more = run.candidate("prune").model_copy(update={"plan": plan})
    (tree,) = step_trees(run.model_copy(update={"candidates": (*run.candidates, more)}))
    labels = [form.label for form in tree.forms]
    assert labels[2] == "prune_channels ratio=0.5"
    assert labels[-1] == "prune_channels ratio=0.7"
    assert labels.count("int8_static") == 3


def test_each_provider_has_a_tree_of_its_own(stepped: tuple[Run, Path]) -> None:
    run = stepped[0]
    there = []
    for name in ("prune", "prune-distill-int8"):
        plan = run.candidate(name).plan.model_copy(
            update={"name": f"{name}@openvino", "provider": "openvino"}
        )
        there.append(run.candidate(name).model_copy(update={"plan": plan}))
    both = run.model_copy(update={"candidates": (*run.candidates, *there)})
    first, second = step_trees(both)
    assert (first.provider, second.provider) == ("cpu", "openvino")
    assert [form.label for form in second.forms] == [
        "the model",
        "prune_channels",
        "distill",
        "int8_static",
    ]
    assert second.forms[0].cost == first.forms[0].cost


def test_a_run_whose_lineage_says_nothing_has_dashes(tmp_path: Path) -> None:
    run = stepped_run(tmp_path)
    bare = tuple(c.model_copy(update={"lineage": ()}) for c in run.candidates)
    store(tmp_path, run.model_copy(update={"candidates": bare}))
    section = section_of(write_report(tmp_path))
    assert re.search(r"\| ↳ `prune_channels` +\| - +\| - +\| 0\.590 \(-47%\)", section)
    assert "plots/training.svg" not in section
    assert not (tmp_path / "plots" / "training.svg").exists()
    assert "MACs" not in words_of(tmp_path / "plots" / "steps.svg")


def test_a_run_of_single_steps_has_no_such_section(tmp_path: Path) -> None:
    make_run(tmp_path)
    text = write_report(tmp_path).read_text("utf-8")
    assert HEADING not in text
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == ["latency.svg", "tradeoff.svg"]


def test_both_plots_are_named_in_the_section_alone(stepped: tuple[Run, Path]) -> None:
    text = stepped[1].read_text("utf-8")
    found = re.findall(r"!\[([^\]]+)\]\(plots/(\w+)\.svg\)", text)
    assert [name for _, name in found] == ["tradeoff", "latency", "steps", "training"]
    assert "distill after prune_channels, 8 epochs, epoch 7 kept" in found[3][0]


def test_the_plots_show_what_the_tables_say(stepped: tuple[Run, Path]) -> None:
    words = words_of(stepped[1].parent / "plots" / "steps.svg")
    assert {"fp32", "prune_channels", "distill", "finetune", "int8_static"} <= words
    assert {"parameters", "MACs", "size, MB", "p50, ms", "accuracy delta, points"} <= words
    assert {"0.272M", "20.4M", "0.171", "-60", "baseline", "margin 2 points"} <= words


def test_the_curves_say_which_epoch_was_kept(stepped: tuple[Run, Path]) -> None:
    words = words_of(stepped[1].parent / "plots" / "training.svg")
    assert "distill after prune_channels (prune-distill-int8:distill, prune-distill-int8)" in words
    assert {"kept: epoch 7, 91.00%", "the teacher: 91.50%", "loss", "training"} <= words


def words_of(plot: Path) -> set[str]:
    """All text of a plot: its letters are paths, and a comment stands before each text."""
    return set(re.findall(r"<!-- (.*?) -->", plot.read_text("utf-8")))


def test_a_training_that_candidates_share_is_one_curve(stepped: tuple[Run, Path]) -> None:
    first, second = curves(stepped[0])
    assert first.steps == ("prune_channels", "distill")
    assert first.candidates == ("prune-distill-int8:distill", "prune-distill-int8")
    assert second.candidates == ("prune-finetune-int8",)


def test_what_pruning_removed_and_left_is_said_in_words() -> None:
    text = "; ".join(facts_text(LineageStep(transformation="prune_channels", facts=PRUNING)))
    assert "parameters 0.272M to 0.140M (-49%); MACs 40.8M to 20.4M (-50%)" in text
    assert "removed 52 of 96 channels in 3 layers: stem 16 to 8, " in text
    assert "left head as before, because its outputs are the model's own" in text


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (3, "kept the best epoch, 3: validation accuracy 91.00%"),
        (0, "kept the weights that came in, as no epoch was better: validation accuracy 31.00%"),
    ],
)
def test_what_training_did_is_said_in_words(best: int, words: str) -> None:
    facts = {"training": training([0.8, 0.9, 0.91, 0.9], best)}
    trained, kept = facts_text(LineageStep(transformation="finetune", facts=facts))
    assert trained == (
        "trained 4 epochs, stopped early, on 1,200 examples (validated on 150 others) in 42 s"
    )
    assert kept == words


def test_a_training_without_a_validation_part_kept_the_last_epoch(
    stepped: tuple[Run, Path],
) -> None:
    run = stepped[0]
    facts = training([0.8, 0.9, 0.91], 3) | {"validation_examples": 0}
    for epoch in (facts["start"], *facts["epochs"]):
        epoch |= {"validation_score": None, "validation_loss": None}
    trained, kept = facts_text(LineageStep(transformation="distill", facts={"training": facts}))
    assert "validated" not in trained
    assert kept == "kept the last epoch, 3"
    step = LineageStep(transformation="distill", facts={"training": facts})
    lineage = (LineageStep(transformation="source"), step)
    changed = run.candidates[-1].model_copy(update={"lineage": lineage})
    plot = draw_curves(run.model_copy(update={"candidates": (changed,)}))
    assert plot is not None
    assert b"the last epoch was kept" in plot


@pytest.mark.parametrize(
    "facts",
    [
        {"removed": {"stem": 8}},
        {"left": "nothing"},
        {"macs": "many"},
        {"training": {"epochs": []}},
        {"training": None},
        {"parameters": 3},
    ],
)
def test_facts_of_another_form_are_told_as_they_stand(facts: dict[str, Any]) -> None:
    (text,) = facts_text(LineageStep(transformation="other", facts=facts))
    assert text.startswith(next(iter(facts)))


def test_scores_that_are_missing_or_not_finite_are_left_out_of_a_curve() -> None:
    facts = training([0.8, float("nan"), 0.9], 2)
    del facts["epochs"][0]["validation_loss"]
    found = read_training({"training": facts})
    assert found is not None
    assert [epoch.score for epoch in found.epochs] == [0.8, None, 0.9]
    assert found.epochs[0].validation_loss is None
    assert found.best_score is None


@pytest.mark.parametrize(
    ("number", "shown"),
    [(4_902, "4,902"), (99_999, "99,999"), (272_474, "0.272M"), (11_174_000_000, "11,174M")],
)
def test_large_counts_are_in_millions(number: int, shown: str) -> None:
    assert counted(number) == shown


@pytest.mark.parametrize(
    ("now", "before", "shown"),
    [(50, 100, "-50%"), (300, 100, "+200%"), (1001, 1000, ""), (5, None, ""), (5, 0, "")],
)
def test_a_change_that_rounds_to_nothing_is_not_shown(
    now: float, before: float | None, shown: str
) -> None:
    assert against(now, before) == shown


def test_a_table_that_is_too_wide_is_divided_between_groups() -> None:
    header = ("step", *"abcd")
    rows = [("x", *["y" * 25] * 4)]
    assert [t.header for t in fitting(header, rows, (1, 1, 1, 1))] == [header]
    wide = [("x", *["y" * 35] * 4)]
    assert [t.header[1:] for t in fitting(header, wide, (2, 2))] == [("a", "b"), ("c", "d")]
    assert [t.header[1:] for t in fitting(header, wide, (1, 2, 1))] == [("a", "b", "c"), ("d",)]


MAE = Margin(metric="mae", higher_is_better=False, max_drop=0.05, relative=True)
AUROC = Margin(metric="auroc", higher_is_better=True, max_drop=0.01)
EXACT = Margin(metric="exact_match", higher_is_better=True, max_drop=0.01)
COSINE = Margin(metric="cosine_similarity", higher_is_better=True, max_drop=0.01)
SHOWN = Margin(metric="accuracy", higher_is_better=True, max_drop=None)


@pytest.mark.parametrize(
    ("margins", "head", "share"),
    [
        ((MAE,), "| mae | mae delta", False),
        ((AUROC, SHOWN), "| auroc delta", False),
        ((EXACT,), "| exact_match | exact_match delta, points", True),
        ((COSINE,), "| cosine_similarity | cosine_similarity delta", False),
    ],
)
def test_steps_are_told_in_the_units_of_their_metric(
    tmp_path: Path, margins: tuple[Margin, ...], head: str, share: bool
) -> None:
    run = stepped_run(tmp_path, Laboratory(tmp_path, margins))
    section = step_section(run, ())
    assert section is not None
    assert head in re.sub(" +", " ", str(section.tables[1].table))
    assert is_share(run, margins[0].metric) is share
    assert max(part.table.width for part in section.tables) <= WIDEST_ROW


def test_of_several_metrics_the_baseline_shows_its_values(tmp_path: Path) -> None:
    run = stepped_run(tmp_path, Laboratory(tmp_path, (AUROC, SHOWN)))
    assert score_cells(run, run.baseline) == ["baseline: 0.4120", "baseline: 91.22%"]
    (option,) = [o for o in options(run) if o.name == "`prune-distill-int8`"]
    assert any("of 900 answers 11 became right" in effect.text for effect in option.effects)

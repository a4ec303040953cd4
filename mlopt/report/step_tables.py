"""What each step of a recipe gave and took: the tables, and why a row of them is empty."""

from __future__ import annotations

from typing import NamedTuple

from mlopt.report.evidence import baseline_name, first_measurement, workloads
from mlopt.report.markdown import fitting
from mlopt.report.outcome import refusals
from mlopt.report.steps import Form, Tree, step_trees
from mlopt.report.summary import ratio_text
from mlopt.report.tables import Titled, display_name, score_cells, score_heads
from mlopt.report.text import NONE, against, code, counted, interval, listing, significant
from mlopt.types.run import Run

_COSTS = ("step", "parameters", "MACs", "size MB", "p50 ms", "p50 ratio")


class StepSection(NamedTuple):
    """The section of the report.

    Attributes:
        introduction: How to read it.
        tables: Of every tree: what it costs, then what it scores.
        notes: Why forms were not measured.
        plots: Path and alternative text.
    """

    introduction: str
    tables: tuple[Titled, ...]
    notes: tuple[str, ...]
    plots: tuple[tuple[str, str], ...]


def step_section(run: Run, plots: tuple[tuple[str, str], ...]) -> StepSection | None:
    """The section; None for a run without recipes of several steps."""
    trees = step_trees(run)
    if not trees:
        return StepSection("", (), (), plots) if plots else None
    tables = [part for tree in trees for part in _tables(run, tree, len(trees) > 1)]
    return StepSection(_introduction(run), tuple(tables), tuple(_notes(run, trees)), plots)


def steps_in_words(run: Run) -> str:
    """What a reader who does not see the plot should know."""
    metric = f" and the {run.plan.margins[0].metric} delta" if run.plan.margins else ""
    return (
        f"Parameters, MACs, size, p50 latency at {workloads(run)[0].name}{metric} of the model after "
        "each step of each recipe; the numbers stand in the tables above"
    )


def _introduction(run: Run) -> str:
    return (
        "A row is the model after one step, with the steps above it on its branch done before. Each was "
        f"exported and measured like any candidate, under `{workloads(run)[0].name}`. In brackets: the "
        "change against the step before, where both are exact. Ratios and deltas are paired with "
        f"{baseline_name(run)}, as everywhere; between two steps, only intervals that lie apart show a "
        "difference. MACs are those of one example."
    )


def _tables(run: Run, tree: Tree, is_one_of_several: bool) -> list[Titled]:
    names = [_branch(form) for form in tree.forms]
    costs = [(name, *_cost(run, form)) for name, form in zip(names, tree.forms, strict=True)]
    heads = (*score_heads(run), "measured as")
    scores = [
        (name, *_scores(run, form, len(heads)))
        for name, form in zip(names, tree.forms, strict=True)
    ]
    where = f", on {code(tree.provider)}" if is_one_of_several else ""
    cost = fitting(_COSTS, costs, (3, 2))
    quality = fitting(("step", *heads), scores, [1] * len(heads))
    titles = (f"Cost after each step{where}", *[""] * (len(cost) - 1))
    more = (f"Quality after each step{where}", *[""] * (len(quality) - 1))
    return [*map(Titled, titles, cost), *map(Titled, more, quality)]


def _branch(form: Form) -> str:
    """The step's name behind as many signs as there are steps until it."""
    step, _, options = form.label.partition(" ") if form.steps else (form.label, "", "")
    name = f"{code(step)} {options}".strip()
    return f"{'· ' * (form.depth - 1)}↳ {name}" if form.steps else name


def _cost(run: Run, form: Form) -> tuple[str, ...]:
    before = form.before
    seen = None if form.result is None else first_measurement(run, form.result.selection)
    size = None if form.result is None else form.result.size_bytes
    return (
        _changed(form.cost.parameters, None if before is None else before.parameters),
        _changed(form.cost.macs, None if before is None else before.macs),
        NONE
        if size is None
        else _bracketed(significant(size / 1e6), against(size, form.size_before)),
        NONE if seen is None else interval(seen.p50_ms),
        NONE if form.result is None else ratio_text(form.result, seen),
    )


def _changed(now: int | None, before: int | None) -> str:
    return NONE if now is None else _bracketed(counted(now), against(now, before))


def _bracketed(text: str, change: str) -> str:
    return f"{text} ({change})" if change else text


def _scores(run: Run, form: Form, columns: int) -> list[str]:
    if form.result is None:
        return [NONE] * columns
    return [*score_cells(run, form.result), display_name(run, form.result)]


def _notes(run: Run, trees: list[Tree]) -> list[str]:
    reasons = {refusal.name: refusal.reason for refusal in refusals(run)}
    by_text: dict[str, dict[str, None]] = {}
    for form in (form for tree in trees for form in tree.forms):
        if form.is_measured:
            continue
        if form.result is None:
            name, reason = code(form.label), "no candidate of this run ends there."
        else:
            name = code(form.result.name)
            reason = reasons.get(name, "it was not measured.")
        by_text.setdefault(reason, {})[name] = None
    return [f"No figures for {listing(list(names))}: {text}" for text, names in by_text.items()]

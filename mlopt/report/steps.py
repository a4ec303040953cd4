"""The steps of a run's recipes as trees: what recipes have in common stands in them once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from mlopt.report.evidence import is_timed
from mlopt.report.facts import value_text
from mlopt.search.mixed_precision import kept_in_float
from mlopt.types.artifact import LineageStep
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.run import CandidateResult, Run

EXPORT = "export_onnx"
"""Brings every form of the model to where it is measured, and changes none of them."""

Path = tuple[str, ...]


class Cost(NamedTuple):
    """What a form of the model holds and computes; None where no step of its lineage says so."""

    parameters: int | None = None
    macs: int | None = None


class Form(NamedTuple):
    """The model after a step.

    Attributes:
        steps: Passes that changed the model until here; empty for the model as it was.
        label: The last of them, with the options that tell it from its siblings.
        depth: Number of steps.
        result: The candidate that is this form; None where the run has none.
        cost: As the lineage of any candidate tells it.
        before: The cost one step earlier.
    """

    steps: Path
    label: str
    depth: int
    result: CandidateResult | None
    cost: Cost
    before: Cost | None
    size_before: int | None

    @property
    def is_measured(self) -> bool:
        """Whether there are latencies of this form."""
        return self.result is not None and is_timed(self.result)


class Tree(NamedTuple):
    """All forms under one provider with one set of settings, each after the one it was made of."""

    provider: str
    forms: tuple[Form, ...]


def step_trees(run: Run) -> list[Tree]:
    """One tree for each provider on which a recipe of several steps was measured.

    A recipe has several steps when it changes the model before the export, or twice. Beside these
    stands each of their steps that was also taken straight from the model: what INT8 gives with
    and without pruning can be read side by side. What mixed precision tried has its own section.
    """
    groups: dict[str, list[CandidateResult]] = {}
    for result in run.candidates:
        if result.plan.role != "reference" and not kept_in_float(result.plan):
            groups.setdefault(_conditions(result.plan), []).append(result)
    trees = [_tree(run, members) for members in groups.values()]
    return [tree for tree in trees if any(form.is_measured for form in tree.forms[1:])]


def changes(plan: PlannedCandidate) -> tuple[Step, ...]:
    """The steps of a candidate that change the model."""
    return tuple(step for step in plan.steps if step.transformation != EXPORT)


def _tree(run: Run, members: list[CandidateResult]) -> Tree:
    by_path: dict[Path, CandidateResult] = {}
    for result in members:
        by_path.setdefault(_path(changes(result.plan)), result)
    shown = _shown(members)
    known = [_form(run, path, shown, by_path) for path in shown]
    return Tree(members[0].plan.provider, tuple(known))


def _shown(members: list[CandidateResult]) -> list[Path]:
    """The forms that are told of, each after the one it was made of, else as planned."""
    long = [_path(changes(m.plan)) for m in members if _has_several_steps(m.plan)]
    used = {_step(step).transformation for path in long for step in path}
    found: dict[Path, None] = {}
    for result in members:
        path = _path(changes(result.plan))
        if path in long or (len(path) == 1 and _step(path[0]).transformation in used):
            found |= dict.fromkeys(path[:i] for i in range(len(path) + 1))
    return list(_depth_first((), list(found))) if found else []


def _depth_first(path: Path, paths: list[Path]) -> Iterator[Path]:
    yield path
    for child in paths:
        if child and child[:-1] == path:
            yield from _depth_first(child, paths)


def _has_several_steps(plan: PlannedCandidate) -> bool:
    names = [step.transformation for step in plan.steps]
    before_export = names[: names.index(EXPORT)] if EXPORT in names else []
    return bool(before_export) or len(changes(plan)) > 1


def _form(run: Run, path: Path, shown: list[Path], by_path: dict[Path, CandidateResult]) -> Form:
    before = by_path.get(path[:-1]) if path else None
    return Form(
        steps=path,
        label=_label(path, shown) if path else _origin(by_path.get(())),
        depth=len(path),
        result=by_path.get(path),
        cost=_cost(run, path),
        before=_cost(run, path[:-1]) if path else None,
        size_before=None if before is None else before.size_bytes,
    )


def _origin(result: CandidateResult | None) -> str:
    return "the model" if result is None else result.name


def _label(path: Path, shown: list[Path]) -> str:
    """The pass, with those of its options that differ between forms made of the same one."""
    step = _step(path[-1])
    siblings = [_step(other[-1]) for other in shown if other and other[:-1] == path[:-1]]
    alike = [s.options for s in siblings if s.transformation == step.transformation]
    names = dict.fromkeys(name for options in alike for name in options)
    telling = [n for n in names if any(o.get(n) != step.options.get(n) for o in alike)]
    words = [f"{n}={value_text(step.options.get(n, 'default'))}" for n in telling]
    return " ".join([step.transformation, *words])


def _cost(run: Run, path: Path) -> Cost:
    """From the first candidate whose lineage reaches the form."""
    for result in run.candidates:
        lineage = _lineage_until(result, path)
        if lineage:
            return Cost(_last(lineage, "parameters"), _last(lineage, "macs"))
    return Cost()


def _lineage_until(result: CandidateResult, path: Path) -> tuple[LineageStep, ...]:
    """The lineage of a candidate until the form; empty where it does not go through it."""
    if _path(changes(result.plan))[: len(path)] != path:
        return ()
    places = [i for i, s in enumerate(result.plan.steps) if s.transformation != EXPORT]
    end = places[len(path) - 1] + 2 if path else 1  # a lineage begins with the source
    return result.lineage[:end] if len(result.lineage) >= end else ()


def _last(lineage: tuple[LineageStep, ...], fact: str) -> int | None:
    found = [step.facts[fact] for step in lineage if isinstance(step.facts.get(fact), int)]
    return found[-1] if found else None


def _path(steps: tuple[Step, ...]) -> Path:
    return tuple(json.dumps([s.transformation, s.options], sort_keys=True) for s in steps)


def _step(text: str) -> Step:
    transformation, options = json.loads(text)
    return Step(transformation=transformation, options=options)


def _conditions(plan: PlannedCandidate) -> str:
    """What a candidate runs on and how; only what runs alike differs by its steps alone."""
    return json.dumps([plan.provider, plan.runner, plan.settings], sort_keys=True)

"""Mixed precision: what each candidate on the way from 8 bits to float gained and cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from mlopt.decision.judge import judge_margin
from mlopt.decision.noninferiority import keeps_quality
from mlopt.report.evidence import baseline_name, first_measurement, is_timed, timed, workloads
from mlopt.report.markdown import Table
from mlopt.report.scene import draw_scene, scene_of
from mlopt.report.summary import metric_text, ratio_text
from mlopt.report.tables import Titled, display_name, score_heads
from mlopt.report.text import NONE, code, interval, plural, prose, speed
from mlopt.search.mixed_precision import EXCLUDE, KEPT_IN_FLOAT, kept_in_float
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.decision import worst
from mlopt.types.run import CandidateResult, Run


class Walk(NamedTuple):
    """Candidates that differ in how many layers they keep in float.

    A stored run says no more of a walk than its candidates: the members have the choice ``float``,
    and what they start from is the candidate that is the same in all but that, its recipe, its
    provider, its settings and its other choices.

    Attributes:
        start: All layers in 8 bits.
        members: The fewest layers in float first.
    """

    start: CandidateResult
    members: tuple[CandidateResult, ...]

    @property
    def results(self) -> tuple[CandidateResult, ...]:
        """All of them, in the order of the walk."""
        return (self.start, *self.members)


class WalkSection(NamedTuple):
    """The section of the report.

    Attributes:
        introduction: How to read it.
        tables: One a walk.
        notes: How each walk ended.
        plots: Path and alternative text.
    """

    introduction: str
    tables: tuple[Titled, ...]
    notes: tuple[str, ...]
    plots: tuple[tuple[str, str], ...]


def walks(run: Run) -> list[Walk]:
    """The walks of a run, in the order of their starts."""
    members: dict[str, list[CandidateResult]] = {}
    for result in run.candidates:
        if kept_in_float(result.plan) > 0:
            members.setdefault(_all_but_float(result.plan), []).append(result)
    return [
        Walk(start, tuple(sorted(found, key=lambda one: kept_in_float(one.plan))))
        for start in run.candidates
        if kept_in_float(start.plan) == 0 and (found := members.get(_all_but_float(start.plan)))
    ]


def walk_section(run: Run, plots: tuple[tuple[str, str], ...]) -> WalkSection | None:
    """The section; None for a run without mixed precision."""
    found = walks(run)
    if not found:
        return None
    tables = tuple(Titled(f"From {code(walk.start.name)}", _table(run, walk)) for walk in found)
    notes = tuple(_outcome(run, walk) for walk in found)
    return WalkSection(_introduction(run), tables, notes, plots)


def draw_walks(run: Run) -> bytes | None:
    """Latency against quality along every walk, as SVG; None where no walk was timed."""
    found = [[one for one in walk.results if is_timed(one)] for walk in walks(run)]
    lines = [line for line in found if len(line) > 1]
    names = {one.name for line in lines for one in line}
    shown = [one for one in timed(run) if one.name in names or one.plan.role == "baseline"]
    scene = scene_of(run, shown) if lines else None
    if scene is None:
        return None
    drawn = {point.name for point in scene.points}
    paths = tuple(tuple(one.name for one in line if one.name in drawn) for line in lines)
    return draw_scene(run, scene._replace(paths=tuple(path for path in paths if len(path) > 1)))


def walks_in_words(run: Run) -> str:
    """What a reader who does not see the plot should know."""
    names = ", ".join(walk.start.name for walk in walks(run))
    metric = run.plan.margins[0].metric if run.plan.margins else "quality"
    return (
        f"p50 latency at {workloads(run)[0].name} against the {metric} delta, with 95% intervals, along "
        f"the way from 8 bits to float of {names}; the numbers stand in the tables above"
    )


def _introduction(run: Run) -> str:
    return (
        "What loses too much in 8 bits may keep its quality with some of its layers in float. Layers "
        "were ranked on calibration data by how much their quantization hurts, and their number was "
        "bisected: each candidate was scored to decide where to look next, so few were. A layer is a "
        "product with what follows it until the next one. A margin is kept when the whole interval on "
        "selection lies within it or, where selection is too small to show that of any candidate, the "
        f"loss that was seen. Ratios and deltas are paired with {baseline_name(run)}."
    )


def _table(run: Run, walk: Walk) -> Table:
    metric = run.plan.margins[0].metric if run.plan.margins else None
    head = [] if metric is None else [score_heads(run)[1 if len(run.plan.margins) == 1 else 0]]
    rows = []
    for result in walk.results:
        seen = first_measurement(run, result.selection)
        nodes = len(_excluded(result.plan)) - len(_excluded(walk.start.plan))
        rows.append(
            (
                display_name(run, result),
                str(kept_in_float(result.plan)),
                str(nodes),
                NONE if seen is None else interval(seen.p50_ms),
                ratio_text(result, seen),
                *([] if metric is None else [metric_text(run, result, metric)]),
                _verdict(result),
            )
        )
    header = ("candidate", "layers in float", "nodes", "p50 ms", "p50 ratio", *head, "margins")
    return Table(header, tuple(rows))


def _outcome(run: Run, walk: Walk) -> str:
    """How a walk ended, in a sentence."""
    name = code(walk.start.name)
    good = next((one for one in walk.members if keeps_quality(one)), None)
    if good is None:
        tried = plural(len(walk.members), "candidate")
        return f"None of the {tried} between {name} and float keeps the quality of the baseline."
    kept = kept_in_float(good.plan)
    text = f"With {plural(kept, 'layer')} in float, {name} keeps its quality"
    below = next((one for one in walk.results if kept_in_float(one.plan) == kept - 1), None)
    if below is not None and not keeps_quality(below):
        text += f", and with {kept - 1} it does not"
    seen = first_measurement(run, good.selection)
    if seen is None or seen.p50_ratio is None:
        return f"{text}."
    words = speed(seen.p50_ratio.value)
    than = "as" if words == "as fast" else "than"
    return f"{text}. {code(good.name)} is {words} {than} {baseline_name(run)}."


def _verdict(result: CandidateResult) -> str:
    """The margins together; what became of the candidate where they were not judged."""
    if result.failure is not None:
        return prose(f"failed to {result.failure.during}")
    quality = None if result.selection is None else result.selection.quality
    if quality is None:
        return "not scored"
    judged = [judge_margin(one) for one in quality.metrics if one.max_drop is not None]
    return worst([one.outcome for one in judged]) if judged else NONE


def _excluded(plan: PlannedCandidate) -> Sequence[str]:
    """Names of the nodes that its quantizer leaves in float."""
    found = [step.options[EXCLUDE] for step in plan.steps if EXCLUDE in step.options]
    return found[-1] if found else ()


def _all_but_float(plan: PlannedCandidate) -> str:
    """What the candidates of one walk have in common."""
    choices = {name: value for name, value in plan.choices.items() if name != KEPT_IN_FLOAT}
    common = [plan.recipe, plan.provider, plan.runner, plan.settings, choices]
    return json.dumps([*common, [step.transformation for step in plan.steps]], sort_keys=True)

"""Everything that the template of the report shows, ready-made."""

from __future__ import annotations

from typing import NamedTuple

from mlopt.profiling.diagnostics import wandered
from mlopt.report import background, tables
from mlopt.report.curves import curves_in_words
from mlopt.report.diagnosis import DiagnosisSection, diagnosis_section
from mlopt.report.diagnostics import Quiet, wandering, was_it_quiet
from mlopt.report.effects import Effect, effects
from mlopt.report.evidence import chosen, decisive, measurements, workloads
from mlopt.report.load import LoadSection, load_section
from mlopt.report.markdown import Table, fence
from mlopt.report.options import Option, options
from mlopt.report.outcome import (
    Refusal,
    counts,
    explanation,
    quotable,
    refusals,
    settlements,
    status,
    title,
)
from mlopt.report.plots import CURVES, STEPS, WALK
from mlopt.report.search import SearchSection, search_section
from mlopt.report.slices import SliceSection, slice_section
from mlopt.report.step_tables import StepSection, step_section, steps_in_words
from mlopt.report.text import code, listing, plural, prose
from mlopt.report.walk import WalkSection, walk_section, walks_in_words
from mlopt.types.privacy import without_paths
from mlopt.types.run import Run

_LOG_LINES = 20
_LONGEST_LINE = 160


class Decided(NamedTuple):
    """Title, status, and the decision itself."""

    title: str
    status: str
    date: str
    context: str
    sentence: str
    explanation: tuple[str, ...]
    contract: Table | None
    settlements: tuple[str, ...]
    evidence: Table | None
    slices: SliceSection | None
    load: LoadSection | None
    diagnosis: DiagnosisSection | None
    consequences: tuple[Effect, ...]
    refusals: tuple[Refusal, ...]


class Considered(NamedTuple):
    """The options side by side, and each in detail."""

    latency: tuple[tables.Titled, ...]
    quality: tuple[tables.Titled, ...]
    verdicts: tuple[Table, ...]
    options: tuple[Option, ...]
    plots: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    steps: StepSection | None
    walk: WalkSection | None
    searches: tuple[SearchSection, ...]


class Background(NamedTuple):
    """What stands around the decision."""

    drivers: tuple[str, ...]
    procedure: tuple[str, ...]
    statistics: tuple[str, ...]
    warnings: tuple[str, ...]
    quiet: Quiet | None
    assumptions: tuple[str, ...]
    effort: Table | None
    command: str
    versions: tuple[str, ...]
    data: Table
    hashes: str


class AdrView(NamedTuple):
    """The report as data."""

    decided: Decided
    considered: Considered
    background: Background
    mlopt_version: str


def build_view(run: Run, plots: tuple[str, ...]) -> AdrView:
    """Turns a run into the words and tables of its report.

    Args:
        run: The run.
        plots: Which of the plots were drawn, relative to the report.
    """
    return AdrView(_decided(run), _considered(run, plots), _background(run), run.mlopt_version)


def _decided(run: Run) -> Decided:
    winner = chosen(run)
    return Decided(
        title=title(run),
        status=status(run),
        date=(run.finished_at or run.started_at)[:10],
        context=_context(run),
        sentence=quotable(run),
        explanation=tuple(explanation(run)),
        contract=tables.contract_table(run),
        settlements=tuple(settlements(run)),
        evidence=tables.evidence_table(run),
        slices=slice_section(run),
        load=load_section(run),
        diagnosis=diagnosis_section(run.diagnosis),
        consequences=() if winner is None else tuple(effects(run, winner, decisive(winner))),
        refusals=tuple(r._replace(log=_log(r.log)) for r in refusals(run)),
    )


def _considered(run: Run, plots: tuple[str, ...]) -> Considered:
    shown = [(path, _alternative(run, path)) for path in plots]
    return Considered(
        latency=tuple(tables.latency_tables(run)),
        quality=tuple(tables.quality_tables(run)),
        verdicts=tables.verdict_tables(run),
        options=tuple(options(run)),
        plots=tuple(pair for pair in shown if not pair[0].endswith((STEPS, CURVES, WALK))),
        notes=tuple(_table_notes(run)),
        steps=step_section(run, tuple(pair for pair in shown if pair[0].endswith((STEPS, CURVES)))),
        walk=walk_section(run, tuple(pair for pair in shown if pair[0].endswith(WALK))),
        searches=tuple(search_section(run, summary) for summary in run.search),
    )


def _background(run: Run) -> Background:
    return Background(
        drivers=tuple(background.drivers(run)),
        procedure=tuple(background.procedure(run)),
        statistics=tuple(background.statistics(run)),
        warnings=tuple(background.warnings(run)),
        quiet=was_it_quiet(run),
        assumptions=tuple(background.assumptions(run)),
        effort=tables.effort_table(run),
        command=fence(without_paths(run.plan.command)).replace("```text", "```sh"),
        versions=tuple(background.versions(run)),
        data=tables.data_table(run),
        hashes=fence(background.hashes(run)),
    )


def _context(run: Run) -> str:
    what = "candidates"
    if not run.plan.refinement.is_empty:
        what = "first candidates, the way to propose more,"
    names = listing([f"`{w.name}`" for w in workloads(run)])
    return (
        f"Which deployable form of {code(run.plan.project)} should we ship, and what do we give up? "
        f"{counts(run)}, under {names}, on {prose(run.environment.cpu)} with "
        f"{plural(run.environment.cpus, 'processor')}. Budget, {what} and selection rule were "
        "fixed before anything was measured."
    )


def _table_notes(run: Run) -> list[str]:
    results = [c for c in run.candidates if c.selection is not None]
    base = next((c for c in results if c.plan.role == "baseline"), None)
    if results and (base is None or base.selection is None or not base.selection.measurements):
        return ["**The baseline was not measured, so there are no ratios and no deltas.**"]
    if names := wandering(run):
        return [
            f"**The latency of {listing(names)} wandered while it was measured: no level exists to be "
            f"estimated. Its absolute figures say where it happened to be, and {_how_judged(run)}; compare "
            "by the ratio.**"
        ]
    return []


def _how_judged(run: Run) -> str:
    """What a line of the budget means for a latency that did a random walk."""
    walks = [m.walked for _, m in measurements(run) if wandered(m.diagnostics)]
    if None in walks:  # of a run of before that was stored
        return "no line of the budget is judged by them"
    return "a line of the budget is judged as if it went twice as far"


def _alternative(run: Run, path: str) -> str:
    """What a reader who does not see the plot should know."""
    first = workloads(run)[0].name
    if "tradeoff" in path:
        metric = run.plan.margins[0].metric if run.plan.margins else "quality"
        return f"p50 latency at {first} against the {metric} delta of every candidate, with 95% intervals"
    if path.endswith(CURVES):
        return curves_in_words(run)
    if path.endswith(STEPS):
        return steps_in_words(run)
    if path.endswith(WALK):
        return walks_in_words(run)
    return f"Distribution of the raw latencies of every candidate at {first}, with p50 and p99"


def _log(log: str) -> str:
    lines = [
        line.rstrip()[:_LONGEST_LINE] for line in without_paths(log).splitlines() if line.strip()
    ]
    return fence("\n".join(lines[-_LOG_LINES:])) if lines else ""

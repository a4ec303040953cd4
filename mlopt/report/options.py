"""How each candidate was built and run, and what speaks for and against it."""

from __future__ import annotations

from typing import NamedTuple

from mlopt.errors import ConfigError
from mlopt.providers import known_providers
from mlopt.report.effects import Effect, effects
from mlopt.report.evidence import is_timed
from mlopt.report.facts import facts_text, value_text
from mlopt.report.text import code, plural, prose
from mlopt.runners import shown_settings
from mlopt.types.artifact import LineageStep
from mlopt.types.measurement import Placement
from mlopt.types.run import CandidateResult, Run

_ROLES = {
    "reference": "The reference: what users start from, timed beside the others and never chosen.",
    "baseline": "The baseline: all ratios and deltas are over it.",
    "candidate": "",
}


class Option(NamedTuple):
    """A candidate in detail.

    Attributes:
        introduction: Its role and recipe.
        steps: One line for each transformation.
        facts: Runner, settings, placement, cache.
    """

    name: str
    introduction: str
    steps: tuple[str, ...]
    facts: tuple[str, ...]
    effects: tuple[Effect, ...]


def options(run: Run) -> list[Option]:
    """Every candidate of the plan."""
    return [_option(run, result) for result in run.candidates]


def placement_text(placement: Placement) -> str:
    """``all 74 nodes on CPUExecutionProvider``, or how they are divided."""
    nodes = {name: count for name, count in placement.nodes.items() if count}
    total = sum(nodes.values())
    if len(nodes) == 1:
        return f"all {plural(total, 'node')} on {next(iter(nodes))}"
    shares = [f"{n} of {total} nodes ({n / total:.0%}) on {name}" for name, n in nodes.items()]
    return ", ".join(shares) if shares else "no nodes were recorded"


def _option(run: Run, result: CandidateResult) -> Option:
    recipe = f"Recipe {code(result.plan.recipe)}" if result.plan.recipe else "No recipe"
    choices = [f"{key} = {value_text(value)}" for key, value in result.plan.choices.items()]
    chosen_options = f" with {prose(', '.join(choices))}" if choices else ""
    introduction = f"{_ROLES[result.plan.role]} {recipe}{chosen_options}.".strip()
    steps = tuple(_step(step) for step in result.lineage) or tuple(
        f"{code(step.transformation)} (planned, not built)" for step in result.plan.steps
    )
    return Option(
        code(result.name),
        introduction,
        steps,
        tuple(_facts(result)),
        tuple(effects(run, result, result.selection)),
    )


def _step(step: LineageStep) -> str:
    parameters = [f"{key} = {value_text(value)}" for key, value in step.parameters.items()]
    facts = facts_text(step)
    text = code(step.transformation)
    if parameters:
        text += f" with {prose(', '.join(parameters))}"
    return f"{text}: {prose('; '.join(facts))}" if facts else text


def _facts(result: CandidateResult) -> list[str]:
    settings = result.settings or result.plan.settings
    settings = shown_settings(result.plan.runner, settings)
    shown = [f"{key} = {value_text(value)}" for key, value in settings.items()]
    found = [f"Runs on {code(result.plan.runner)}, provider {_provider(result.plan.provider)}"]
    if shown:
        found[0] += f", with {prose(', '.join(shown))}"
    if result.placement is not None:
        fell = ". **It fell back**" if result.fell_back else ""
        found.append(f"Placement: {placement_text(result.placement)}{fell}")
    if result.cached_steps:
        found.append(f"{plural(result.cached_steps, 'step')} came out of the cache")
    if result.artifact_sha256 is not None:
        found.append(f"Artifact sha256 `{result.artifact_sha256[:12]}`")
    if not is_timed(result):
        found.append(f"Status: {result.status}")
    return [f"{fact}." for fact in found]


def _provider(label: str) -> str:
    """The provider; of a variant, also what it changes, which its name alone does not say."""
    try:
        known = known_providers().get(label)
    except ConfigError:  # a plug-in that cannot be loaded here
        known = None
    if known is None or known.variant is None:
        return code(label)
    return f"{code(label)} ({prose(known.about)})"

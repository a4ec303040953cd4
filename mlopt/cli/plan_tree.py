"""What ``mlopt optimize --dry-run`` shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from mlopt.cli.progress import format_seconds

if TYPE_CHECKING:
    from mlopt.types.candidate import PlannedCandidate, Step
    from mlopt.types.plan import Margin, Plan, SplitSummary


def plan_tree(plan: Plan) -> Tree:
    """The plan as a tree; candidates that begin alike share the steps that they share."""
    tree = Tree(Text.assemble("plan of ", (plan.project, "bold")))
    _branch(tree, "data", (_split(name, split) for name, split in plan.data.items()))
    _branch(tree, "budget", (str(line) for line in plan.budget))
    _branch(tree, "margins", (_margin(margin) for margin in plan.margins))
    candidates = tree.add(Text(f"candidates ({len(plan.candidates)})", style="bold"))
    _add_candidates(candidates, plan.candidates)
    _branch(tree, "workloads", (workload.name for workload in plan.workloads))
    _branch(tree, "schedule", _schedule(plan))
    _branch(tree, "selection rule", [plan.selection_rule])
    if plan.notes:
        _branch(tree, "notes", plan.notes)
    return tree


def _branch(tree: Tree, title: str, lines: Iterable[str]) -> None:
    branch = tree.add(Text(title, style="bold"))
    for line in list(lines) or ["none"]:
        branch.add(Text(line))


def _split(name: str, split: SplitSummary) -> str:
    duplicates = f", {split.duplicates} of them duplicates" if split.duplicates else ""
    return f"{name}: {split.examples} examples{duplicates}"


def _margin(margin: Margin) -> str:
    if margin.max_drop is None:
        return f"{margin.metric}: reported, does not decide"
    verb = "drop" if margin.higher_is_better else "rise"
    limit = f"{margin.max_drop:.3g}"
    if margin.relative:
        limit = f"{margin.max_drop:.3g} of the baseline's value"
    words = f"{margin.metric}: may {verb} by at most {limit}"
    if margin.provable is None:
        return f"{words}; what the holdout can prove is not known beforehand"
    proof = f"the holdout can exclude a loss of {margin.provable:.3g} at best"
    if not margin.relative and margin.provable > margin.max_drop:
        proof += ", which is not enough: bring more holdout examples"
    return f"{words}; {proof}"


def _add_candidates(tree: Tree, candidates: Iterable[PlannedCandidate]) -> None:
    nodes: dict[tuple[str, ...], Tree] = {(): tree}
    for candidate in candidates:
        path: tuple[str, ...] = ()
        for step in candidate.steps:
            parent = nodes[path]
            words = _step(step)
            path = (*path, words)
            if path not in nodes:
                nodes[path] = parent.add(Text(words))
        role = "" if candidate.role == "candidate" else f", {candidate.role}"
        where = f" ({candidate.runner} on {candidate.provider}{role})"
        nodes[path].add(Text.assemble((candidate.name, "bold cyan"), where))


def _step(step: Step) -> str:
    return " ".join((step.transformation, *(f"{k}={v}" for k, v in step.options.items())))


def _schedule(plan: Plan) -> list[str]:
    schedule = plan.schedule
    lines = [
        f"{schedule.launches} launches of {schedule.rounds} rounds; each round visits every "
        f"candidate once, for {schedule.block_ms:g} ms "
        f"({schedule.min_block} to {schedule.max_block} inferences)",
        f"candidates are proposed by: {plan.proposer}; seed {plan.seed}",
    ]
    if plan.time_limit_s is not None:
        lines.append(f"at most {format_seconds(plan.time_limit_s)} in all")
    return lines

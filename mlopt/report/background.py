"""What stands around the decision: drivers, assumptions, statistics, reproduction."""

from __future__ import annotations

from mlopt.errors import MloptError
from mlopt.profiling.diagnostics import warnings_of
from mlopt.providers import resolve_provider
from mlopt.report.evidence import baseline_name, measurements, timed, trial_name, workloads
from mlopt.report.quality import baseline_value, is_share, margin_in_words
from mlopt.report.text import code, ended, listing, plural, prose, sentence
from mlopt.types.run import Environment, Run


def drivers(run: Run) -> list[str]:
    """What the choice is measured by, as it stood in the plan."""
    plan = run.plan
    found = [f"Budget: `{line}`." for line in plan.budget]
    if not found:
        found.append("No budget was set: only the margins and the latency decide.")
    for margin in plan.margins:
        share = is_share(run, margin.metric)
        base = baseline_value(run, margin.metric)
        found.append(margin_in_words(margin, plan, share, base))
    if plan.predictions_per_day is None:
        found.append("No traffic figure was given, so no errors a day are stated.")
    else:
        found.append(
            f"Traffic: {plan.predictions_per_day:,.0f} predictions a day, as the project states it."
        )
    fallback = "may" if plan.allow_fallback else "must not"
    found.append(f"Nodes {fallback} run on another provider than the one that was asked for.")
    return found


def procedure(run: Run) -> list[str]:
    """How candidates were proposed and chosen."""
    plan = run.plan
    found = [f"Proposer: {ended(plan.proposer)}", f"Selection rule: {ended(plan.selection_rule)}"]
    return found + [sentence(note) for note in plan.notes]


def _but_on_devices(run: Run) -> str:
    """Whose inputs and outputs live elsewhere, so that no copy of them is timed."""
    providers = dict.fromkeys(candidate.plan.provider for candidate in run.candidates)
    found = [code(name) for name in providers if _stays_on_device(name)]
    if not found:
        return ""
    return f", but for {listing(found)} in the device's memory: no copy is in those times"


def _stays_on_device(provider: str) -> bool:
    try:
        binding = resolve_provider(provider).binding
    except MloptError:  # of a plug-in that is not here: its binding is not known
        return False
    return binding is not None and binding.device != "cpu" and not binding.copies


def assumptions(run: Run) -> list[str]:
    """What must hold for the numbers to hold."""
    plan, machine = run.plan, run.environment
    sizes = listing([str(w.batch_size) for w in workloads(run)])
    found = [
        f"One caller in a closed loop, batch size {sizes}: the next request is sent when the last one is "
        "answered. Queueing under load was not measured.",
        f"Inputs and outputs live on the host{_but_on_devices(run)}. Visits go through up to "
        f"{plan.schedule.pool} different inputs from the data in turn, and no preprocessing is inside the "
        "time.",
        "Peak RSS is that of the process that was timed: the interpreter, the runtime, the model, and "
        "up to 16 MB of inputs.",
        "Cold start is importing the runtime, loading, and the first inference, in a new process whose "
        "files are in the page cache; the first start after a reboot takes longer.",
        "Candidates are compared within one trial on one machine only, visited in turn in shuffled "
        "rounds; ratios are paired inside each round, so that drift of the machine cancels.",
        f"The latencies hold for {prose(machine.cpu)} with {plural(machine.cpus, 'usable processor')} and "
        "the library versions below. INT8 kernels in particular depend on the processor's flags.",
    ]
    holdout = plan.data.get("holdout")
    if holdout is not None:
        found.append(
            f"The holdout ({holdout.examples:,} examples, sha256 `{holdout.sha256[:12]}`) looks like "
            "production, and no one tuned anything on it."
        )
    if plan.predictions_per_day is not None:
        found.append(
            f"The traffic is {plan.predictions_per_day:,.0f} predictions a day. It is taken as stated; "
            "errors a day scale with it."
        )
    return found


def statistics(run: Run) -> list[str]:
    """How to read the numbers, and what these samples allow."""
    found = [
        "An interval is a two-sided 95% interval. Latency: a bootstrap over launches, then over rounds "
        "inside them. Quality: paired on the same examples "
        f"({listing(_methods(run)) or 'nothing was scored'}). A decision from one bound errs at most 2.5%.",
        "Where a metric's resamples all agree, as when no answer changed, its interval is the rule of "
        "three: 3 divided by the number of examples, on either side.",
        f"A ratio is always over {baseline_name(run)}: below 1 is faster. The p50 ratio is the median over "
        "rounds of the ratio of two blocks' medians; it is not the ratio of the two p50 in the table.",
        "p99 is given with an interval from 662 effective samples in 50 rounds, as an upper bound from 459, "
        "and not at all below. Samples that depend on each other count as fewer: effective samples are as "
        "many independent ones as would show a p99 as well.",
        "PASS: the whole interval lies on the right side of the limit. FAIL: all of it lies on the wrong "
        "side. INCONCLUSIVE: it contains the limit. MB is 10^6 bytes.",
    ]
    if any(margin.metric == "auroc" and margin.function is None for margin in run.plan.margins):
        found.append(
            "Either end of an interval of the AUROC lies at least 3.84 / (n + 3.84) away, with n the "
            "examples of its rarest class: even if none of n fails grossly, that share of them still may."
        )
    return found


def warnings(run: Run) -> list[str]:
    """Everything that was noted against the numbers, each with its candidate."""
    found = [sentence(text) for text in run.warnings]
    by_text: dict[str, list[str]] = {}
    for result, seen in measurements(run):
        known = warnings_of(seen.diagnostics)  # they have a section of their own
        for text in (text for text in seen.warnings if text not in known):
            place = f"{code(result.name)} ({trial_name(seen.trial)}, {seen.workload.name})"
            by_text.setdefault(text, []).append(place)
    return found + [f"{listing(places)}: {ended(text)}" for text, places in by_text.items()]


def versions(run: Run) -> list[str]:
    """Machine, libraries, seed and durations."""
    machine = run.environment
    libraries = ", ".join(f"{name} {number}" for name, number in machine.libraries.items())
    found = [
        f"Machine: {prose(machine.cpu)} ({machine.architecture}), {machine.cpus} of "
        f"{plural(machine.cpus_on_host, 'processor')} usable{_quota(machine)}, "
        f"{machine.memory_bytes / 1e9:.1f} GB memory, {prose(machine.operating_system)}.",
        f"Frequency: {prose(machine.frequency or 'not known')}.",
        f"Processor flags that decide which kernels run: {listing(machine.cpu_flags) or 'none'}.",
        f"Software: mlopt {run.mlopt_version}, Python {machine.python}, {libraries}.",
        f"Execution providers: {listing(machine.providers) or 'none'}.",
        *_builds(machine),
        f"Seed: {run.plan.seed}. Schedule: {run.plan.schedule.launches} launches x "
        f"{run.plan.schedule.rounds} rounds, at most {run.plan.schedule.max_block} inferences in a block.",
    ]
    if run.plan.time_limit_s is not None:
        found.append(f"Time limit: {run.plan.time_limit_s:,.0f} s.")
    if run.seconds:
        spent = ", ".join(f"{phase} {seconds:,.0f} s" for phase, seconds in run.seconds.items())
        found.append(f"Time spent: {spent}.")
    return found


def hashes(run: Run) -> str:
    """Every hash in full, one a line."""
    named = [
        ("plan", run.plan_sha256),
        ("model", run.plan.model_sha256),
        ("sources", run.plan.sources_sha256),
        *((f"data.{name}", split.sha256) for name, split in run.plan.data.items()),
        *((f"artifact {c.name}", c.artifact_sha256) for c in run.candidates if c.artifact_sha256),
    ]
    width = max(len(name) for name, _ in named)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in named)


def _quota(machine: Environment) -> str:
    return "" if machine.cpu_quota is None else f" (a quota of {machine.cpu_quota:.3g})"


def _builds(machine: Environment) -> list[str]:
    builds = [f"{name} {build}" for name, build in machine.builds.items()]
    return [f"Builds: {prose(', '.join(builds))}."] if builds else []


def _methods(run: Run) -> list[str]:
    qualities = [e.quality for c in timed(run) if c.plan.role != "baseline" for e in c.evidence]
    return list(
        dict.fromkeys(f"{m.name}: {prose(m.method)}" for q in qualities if q for m in q.metrics)
    )

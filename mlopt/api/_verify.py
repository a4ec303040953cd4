"""Recompute a stored run from its samples: ``mlopt report RUN --verify``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mlopt import __version__
from mlopt.errors import ConfigError, RunError
from mlopt.machine import read_processor
from mlopt.machine.environment import library_versions
from mlopt.pipeline.integrity import check_files
from mlopt.pipeline.ledger import Ledger
from mlopt.pipeline.limits import default_limits, project_limits
from mlopt.pipeline.prepared import Prepared, prepare
from mlopt.pipeline.recompute import (
    Evidenced,
    recompute_decision,
    recompute_timings,
    recompute_warnings,
)
from mlopt.pipeline.reload import recompute_loads
from mlopt.pipeline.rescore import ProjectGiven, Rescorer
from mlopt.pipeline.stated import check_plan, recompute_facts, recompute_plan
from mlopt.project import load_project
from mlopt.report import check_report
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.store.rundir import ADR, RUN, RunDirectory
from mlopt.types.events import Event, OnEvent
from mlopt.types.plan import Plan
from mlopt.types.run import Run
from mlopt.types.verification import Checked, Findings, Mismatch, Unverified

DOCUMENT_SCHEMA_VERSION = 1
MISMATCH = 3

SAME, OTHER = 1e-12, 1e-9
"""Largest relative difference of two floats that count as equal: with the versions and processor of
the run, where only the order of additions may differ, and with others."""

_SHAPING = ("numpy", "scipy", "torch", "torchmetrics")
"""Libraries whose version may change the last digits of a number."""


class Verification(NamedTuple):
    """What a verification found.

    Attributes:
        findings: What differs, what was not looked at, and how much was compared.
        tolerance: Largest relative difference of two floats that counts as equal.
        changed: What is not as it was when the run was made, and may explain a difference.
    """

    run_dir: Path
    findings: Findings
    tolerance: float
    changed: tuple[str, ...]

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """What the run says and its evidence does not."""
        return self.findings.mismatches

    @property
    def unverified(self) -> tuple[Unverified, ...]:
        """What was not looked at."""
        return self.findings.unverified

    @property
    def checked(self) -> Checked:
        """How much was compared."""
        return self.findings.checked

    @property
    def exit_code(self) -> int:
        """0 when all that was compared agrees, else 3."""
        return MISMATCH if self.mismatches else 0

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "run_dir": str(self.run_dir),
            "agrees": not self.mismatches,
            "mismatches": [one.model_dump(mode="json") for one in self.mismatches],
            "checked": self.checked.model_dump(mode="json"),
            "unverified": [one.model_dump(mode="json") for one in self.unverified],
            "relative_tolerance": self.tolerance,
            "changed_since": list(self.changed),
        }


def verify(
    run_dir: Path, *, project: Path | None = None, on_event: OnEvent | None = None
) -> Verification:
    """Recomputes every number of a stored run from its raw samples, and names those that differ.

    Nothing in the directory is changed. A run that did not end is verified as far as it goes.

    Args:
        run_dir: A directory that :func:`mlopt.api.optimize` wrote.
        project: Its project, for what only the user's code and data can recompute: metrics, slices
            and groups of the user's own, and the hashes of the data. It runs the project's code.
        on_event: Called with what is going on.

    Raises:
        RunError: ``run.json`` is missing or damaged.
        ConfigError: The project is wrong, or another one.
    """
    tell = on_event or (lambda event: None)
    run = RunDirectory(run_dir).read_run()
    if not any(candidate.plan.role == "baseline" for candidate in run.candidates):
        raise RunError(f"{run_dir / RUN} is damaged: none of its candidates is the baseline.")
    changed = _changed(run)
    tolerance = OTHER if changed else SAME
    raw = json.loads((run_dir / RUN).read_bytes())
    ledger = Ledger(RUN, run.model_dump(mode="json"), raw, tolerance)
    made, told = None, _without_project(run)
    notes: tuple[str, ...] = ()
    if project is not None:
        made, told, notes = _project(ledger, run, project, tell)
    findings = _recompute(ledger, run, run_dir, made, tell).plus(told)
    tell(Event(phase="report", message="rendering the report again"))
    findings = findings.plus(ledger.findings())
    findings = findings.plus(_prose(ledger, run_dir, is_damaged=bool(findings.mismatches)))
    return Verification(run_dir, findings, tolerance, (*changed, *notes))


def _recompute(
    ledger: Ledger, run: Run, run_dir: Path, project: ProjectGiven | None, tell: OnEvent
) -> Findings:
    """Turns the ledger's document into what it should be.

    Returns:
        What the other files say that they should not.
    """
    tell(Event(phase="check", message="comparing files with their hashes"))
    sound = check_files(run, run_dir)
    findings = sound.findings.plus(check_plan(ledger, run, run_dir))
    recompute_plan(ledger, run, run_dir)
    recompute_facts(ledger, run, sound.shipped)
    given = Evidenced(run, run_dir, sound.broken)
    recompute_timings(ledger, given, _teller(tell, "time"))
    recompute_loads(ledger, given)
    say = _teller(tell, "compare")
    limits = default_limits(None)
    with tempfile.TemporaryDirectory(prefix="mlopt-") as work:
        rescorer = Rescorer(
            given, project, Path(work), limits, lambda message, done: say(message, done or 0.0)
        )
        rescorer.recompute(ledger)
    recompute_warnings(ledger)
    recompute_decision(ledger, given)
    return findings


def _prose(ledger: Ledger, run_dir: Path, *, is_damaged: bool) -> Findings:
    """The report against the run as it should be; a run may be too damaged to render one."""
    try:
        return check_report(Run.model_validate(ledger.document), run_dir)
    except Exception as e:
        if not is_damaged:
            raise
        reason = f"the run is too damaged to render it: {type(e).__name__}: {e}"
        return Findings(unverified=(Unverified(what=f"{ADR} and plots", count=1, reason=reason),))


def _changed(run: Run) -> tuple[str, ...]:
    """What shapes numbers and words, and is another than when the run was made."""
    here, before = library_versions(), run.environment.libraries
    found = []
    if run.mlopt_version != __version__:
        found.append(
            f"mlopt: {run.mlopt_version} then, {__version__} now: it may compute or phrase things in "
            f"another way; verify with mlopt {run.mlopt_version} before you distrust the run"
        )
    found += [
        f"{name}: {before[name]} then, {here.get(name, 'missing')} now"
        for name in _SHAPING
        if name in before and here.get(name) != before[name]
    ]
    processor = read_processor().model
    if processor != run.environment.cpu:
        found.append(f"processor: {run.environment.cpu} then, {processor} now")
    return tuple(found)


def _teller(tell: OnEvent, phase: Any) -> Callable[[str, float], None]:
    return lambda message, done: tell(Event(phase=phase, message=message, done=done))


def _without_project(run: Run) -> Findings:
    """Hashes that were compared with each other only, and not with what they are hashes of."""
    reason = "compared with plan.json only: whether they are those of the project needs --project"
    what = f"{RUN} /plan: hashes of the data, the model and the code"
    return Findings(unverified=(Unverified(what=what, count=len(_hashes(run)), reason=reason),))


def _hashes(run: Run) -> dict[str, str]:
    """What a plan has hashes of."""
    plan = run.plan
    return {
        **{f"data.{split}": summary.sha256 for split, summary in plan.data.items()},
        "Python files": plan.sources_sha256,
        "model": plan.model_sha256,
        "training": plan.training_sha256,
    }


def _project(
    ledger: Ledger, run: Run, path: Path, tell: OnEvent
) -> tuple[ProjectGiven, Findings, tuple[str, ...]]:
    """Reads the project's data, and compares its hashes with those of the run.

    Returns:
        The project; what of it could not be compared; and what of it has changed.

    Raises:
        ConfigError: The project is wrong, or another one.
    """
    loaded = load_project(path)
    if loaded.project.name != run.plan.project:
        raise ConfigError(
            f"{path} is the project '{loaded.project.name}', and the run is of '{run.plan.project}'. "
            "Give the project that the run was made of with --project."
        )
    say = _teller(tell, "check")
    limits = project_limits(loaded.project)
    made = prepare(
        loaded,
        Cache(default_cache_dir()),
        run.plan.seed,
        limits,
        lambda message, done: say(message, done or 0.0),
    )
    now = _hashes(run.model_copy(update={"plan": _as_of_now(run, made)}))
    changed = [what for what, sha256 in _hashes(run).items() if now.get(what) != sha256]
    same = {s: path for s, path in made.snapshots.items() if f"data.{s}" not in changed}
    for split in same.keys() & run.plan.data.keys():
        ledger.expect(("plan", "data", split), made.data[split].model_dump(mode="json"))
    reason = "the project is not as it was when the run was made"
    told = Findings(
        unverified=tuple(
            Unverified(what=f"{RUN} /plan: hash of {what}", count=1, reason=reason)
            for what in changed
        ),
        checked=Checked(fields=len(now) - len(changed)),
    )
    notes = tuple(f"the project's {what} changed since the run" for what in changed)
    return ProjectGiven(loaded.directory, same), told, notes


def _as_of_now(run: Run, made: Prepared) -> Plan:
    """The plan with the hashes of the project as it stands."""
    return run.plan.model_copy(
        update={
            "data": made.data,
            "sources_sha256": made.sources_sha256,
            "model_sha256": made.model_sha256,
            "training_sha256": made.training_sha256,
        }
    )

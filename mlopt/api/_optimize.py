"""Build, measure and choose: ``mlopt optimize``."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlopt import __version__
from mlopt.api._document import candidate_document
from mlopt.api._overrides import Overrides
from mlopt.errors import ConfigError
from mlopt.machine.environment import describe_environment
from mlopt.pipeline.builder import Builder
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.execute import Tools, execute
from mlopt.pipeline.limits import project_limits
from mlopt.pipeline.planning import make_plan, warnings_of
from mlopt.pipeline.prepared import Prepared, prepare
from mlopt.pipeline.proposing import proposer_of
from mlopt.pipeline.quality import Scorer
from mlopt.pipeline.ranking import Ranker
from mlopt.pipeline.recorder import Recorder, utc_now
from mlopt.pipeline.resume import refuse_changed, reopen
from mlopt.pipeline.space import candidate_space, maker_of
from mlopt.pipeline.timing import Timer
from mlopt.project import LoadedProject, load_project
from mlopt.providers import available_providers, runtime_builds
from mlopt.report import SummaryRow, quotable, summary_rows, write_report
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.store.rundir import RunDirectory
from mlopt.types.decision import Outcome
from mlopt.types.events import Event, OnEvent
from mlopt.types.plan import Plan
from mlopt.types.run import CandidateResult, Run
from mlopt.workers import fork_server

EXIT_CODES: dict[Outcome, int] = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}
INTERRUPTED = 130
DOCUMENT_SCHEMA_VERSION = 1


class OptimizeResult(NamedTuple):
    """A finished run."""

    run: Run
    run_dir: Path

    @property
    def exit_code(self) -> int:
        """0 the budget is met, 3 FAIL, 4 INCONCLUSIVE, 130 interrupted."""
        if self.run.status == "interrupted":
            return INTERRUPTED
        if self.run.decision is None:
            return EXIT_CODES["FAIL"]
        return EXIT_CODES[self.run.decision.outcome]

    @property
    def rows(self) -> list[SummaryRow]:
        """The summary table."""
        return summary_rows(self.run)

    @property
    def sentence(self) -> str:
        """The decision in one sentence, with its numbers, as it stands in the report."""
        return quotable(self.run).replace("`", "")

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        decision = self.run.decision
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "run_dir": str(self.run_dir),
            "status": self.run.status,
            "verdict": decision.outcome if decision is not None else "INCONCLUSIVE",
            "chosen": decision.chosen if decision is not None else None,
            "verdicts": [v.model_dump(mode="json") for v in decision.verdicts] if decision else [],
            "baseline": self.run.baseline.name,
            "candidates": [candidate_document(c) for c in self.run.candidates],
        }


def optimize(
    project: Path = Path(),
    *,
    out: Path | None = None,
    recipes: Sequence[str] = (),
    providers: Sequence[str] = (),
    budget: Sequence[str] = (),
    max_drop: float | None = None,
    batch_sizes: Sequence[int] = (),
    seed: int = 0,
    time_limit_s: float | None = None,
    allow_fallback: bool = False,
    use_cache: bool = True,
    keep_predictions: bool = True,
    resume: Path | None = None,
    on_event: OnEvent | None = None,
) -> OptimizeResult:
    """Builds candidates, measures them side by side, chooses one, confirms it and reports.

    Args:
        project: Directory of ``mlopt.yaml``, or the file.
        out: Where the run's directory is made; default ``reports`` in the current directory.
        recipes: Recipes to try, by name or path; default: those of the project.
        providers: Execution providers; default: those of the project.
        budget: Lines such as ``p99 < 5ms``, which replace those of the project.
        max_drop: Margin of the first metric, in its units.
        batch_sizes: Workloads; default: those of the project.
        seed: The one number that all randomness derives from.
        time_limit_s: Wall-clock limit.
        allow_fallback: Let a candidate be chosen some of whose nodes ran on another provider.
        use_cache: Take what is in the cache, and add to it.
        keep_predictions: Store predictions and targets in the run's directory.
        resume: Directory of a run that did not end; it goes on by its own plan.
        on_event: Called with what is going on.

    Raises:
        MloptError: Anything in the project is wrong; no directory has been made then.
    """
    start = time.monotonic()
    tell = on_event or (lambda event: None)
    overrides = Overrides(recipes, providers, budget, max_drop, batch_sizes, allow_fallback)
    if resume is not None and (overrides != Overrides() or seed or time_limit_s is not None):
        raise ConfigError(
            "--resume goes on by the plan of its run: leave the other options out, or start a new run."
        )
    with ExitStack() as stack:
        cache = _cache(use_cache, stack)
        loaded = overrides.apply(load_project(project))
        stack.enter_context(fork_server())
        if resume is not None:
            stored = RunDirectory(resume)
            run = stored.read_run()
            plan, directory = stored.read_plan(), stored
            made = _prepare(loaded, cache, plan.seed, None, tell)
            refuse_changed(run, made, resume)
            run = reopen(run)
        else:
            asked = Asked(project, overrides, seed, time_limit_s, keep_predictions, use_cache)
            plan, made = _plan(loaded, asked, cache, tell)
            directory = RunDirectory.create(out or Path("reports"), plan.project, datetime.now(UTC))
            run = _new_run(plan, directory)
        recorder = Recorder(directory, run, tell)
        for warning in warnings_of(plan):
            recorder.warn("check", warning)
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlopt-")))
        deadline = Deadline(plan.time_limit_s, start=start)
        try:
            run = execute(_tools(plan, made, recorder, cache, deadline, work))
        finally:
            tell(Event(phase="report", message="writing the report"))
            write_report(directory.path)
    return OptimizeResult(run, directory.path)


def plan(
    project: Path = Path(),
    *,
    recipes: Sequence[str] = (),
    providers: Sequence[str] = (),
    budget: Sequence[str] = (),
    max_drop: float | None = None,
    batch_sizes: Sequence[int] = (),
    seed: int = 0,
    time_limit_s: float | None = None,
    allow_fallback: bool = False,
    on_event: OnEvent | None = None,
) -> Plan:
    """Checks the project, its model and its data, and says what :func:`optimize` would do.

    Takes the arguments of :func:`optimize`.

    Raises:
        MloptError: Anything in the project is wrong.
    """
    overrides = Overrides(recipes, providers, budget, max_drop, batch_sizes, allow_fallback)
    loaded = overrides.apply(load_project(project))
    tell = on_event or (lambda event: None)
    asked = Asked(project, overrides, seed, time_limit_s, keep_predictions=True, use_cache=True)
    return _plan(loaded, asked, Cache(default_cache_dir()), tell)[0]


class Asked(NamedTuple):
    """What a run was asked for, as it stands in its plan."""

    project: Path
    overrides: Overrides
    seed: int
    time_limit_s: float | None
    keep_predictions: bool
    use_cache: bool

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["mlopt", "optimize", _shown(self.project), *self.overrides.arguments()]
        words += ["--seed", str(self.seed)] if self.seed else []
        if self.time_limit_s is not None:
            words += ["--time-limit", f"{self.time_limit_s:g}"]
        words += [] if self.keep_predictions else ["--no-predictions"]
        words += [] if self.use_cache else ["--no-cache"]
        return shlex.join(words)


def _plan(
    loaded: LoadedProject, asked: Asked, cache: Cache, tell: OnEvent
) -> tuple[Plan, Prepared]:
    limit = asked.time_limit_s
    if limit is not None and limit <= 0:
        raise ConfigError(f"--time-limit must be positive, and is {limit:g}.")
    space = candidate_space(loaded)
    made = _prepare(loaded, cache, asked.seed, limit, tell)
    plan = make_plan(
        made,
        space,
        command=asked.command(),
        seed=asked.seed,
        time_limit_s=limit,
        keep_predictions=asked.keep_predictions,
    )
    return plan, made


def _prepare(
    loaded: LoadedProject, cache: Cache, seed: int, time_limit_s: float | None, tell: OnEvent
) -> Prepared:
    limits = project_limits(loaded.project)
    if time_limit_s is not None:
        limits = limits._replace(seconds=min(time_limit_s, limits.seconds or time_limit_s))
    return prepare(
        loaded,
        cache,
        seed,
        limits,
        lambda message, done: tell(Event(phase="check", message=message, done=done)),
    )


def _tools(
    plan: Plan,
    made: Prepared,
    recorder: Recorder,
    cache: Cache,
    deadline: Deadline,
    work: Path,
) -> Tools:
    limits = project_limits(made.project.project)
    builder = Builder(made, cache, plan.seed)
    rank = Ranker(made, builder, cache, recorder, limits, deadline)
    return Tools(
        prepared=made,
        recorder=recorder,
        builder=builder,
        scorer=Scorer(made, recorder, limits, deadline, work),
        timer=Timer(made, recorder, limits, deadline),
        proposer=proposer_of(plan, maker_of(made.project), rank),
        limits=limits,
        deadline=deadline,
    )


def _new_run(plan: Plan, directory: RunDirectory) -> Run:
    usable = tuple(name for name, reason in available_providers().items() if reason is None)
    return Run(
        mlopt_version=__version__,
        status="running",
        started_at=utc_now(),
        plan=plan,
        plan_sha256=directory.write_plan(plan),
        environment=describe_environment(usable, runtime_builds()),
        candidates=tuple(CandidateResult(plan=candidate) for candidate in plan.candidates),
        warnings=plan.notes,
    )


def _cache(use: bool, stack: ExitStack) -> Cache:
    if use:
        return Cache(default_cache_dir())
    return Cache(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlopt-cache-"))))


def _shown(path: Path) -> str:
    """The project's path as it can stand in a report: relative, without anything above it."""
    relative = os.path.relpath(path)
    return path.resolve().name if relative.startswith("..") else Path(relative).as_posix()

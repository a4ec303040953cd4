"""Everything that one run of ``mlopt optimize`` knows, as it stands in ``run.json``."""

from __future__ import annotations

from typing import Literal, get_args

from mlopt.types.artifact import LineageStep
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.decision import Decision
from mlopt.types.diagnosis import Diagnosis
from mlopt.types.measurement import Evidence, Placement
from mlopt.types.plan import Plan
from mlopt.types.record import Record
from mlopt.types.search import SearchSummary

RUN_SCHEMA_VERSION = 1

Status = Literal["running", "complete", "interrupted", "failed"]
CandidateStatus = Literal["planned", "built", "measured", "failed", "skipped"]


class Environment(Record):
    """The machine and the libraries, without any name that identifies the host.

    Attributes:
        cpu_flags: Only those that decide which kernels run.
        cpus: Logical processors that the process may use, after affinity and quota.
        memory_bytes: Memory that the process may use, after the cgroup's limit.
        operating_system: Its name, and the version of its kernel.
        cpu_quota: The cgroup's quota in processors; None: no limit.
        governor: What decides about the processor's frequency; None: cannot be read.
        simultaneous_multithreading: Whether two threads share a core; None: cannot be read.
        max_mhz: The highest frequency of the processor; None: cannot be read.
        builds: What the runtime and its providers were built from, by name: a commit, the version of
            a library below them.
    """

    cpu: str
    cpu_flags: tuple[str, ...]
    architecture: str
    cpus: int
    cpus_on_host: int
    memory_bytes: int
    operating_system: str
    python: str
    libraries: dict[str, str]
    providers: tuple[str, ...]
    cpu_quota: float | None = None
    governor: str | None = None
    simultaneous_multithreading: bool | None = None
    max_mhz: float | None = None
    builds: dict[str, str] = {}

    @property
    def frequency(self) -> str | None:
        """What decides about the processor's speed, in words; None where nothing can be read."""
        known = [] if self.governor is None else [f"governor {self.governor}"]
        if self.max_mhz is not None:
            known.append(f"at most {self.max_mhz:,.0f} MHz")
        if self.simultaneous_multithreading is not None:
            shared = self.simultaneous_multithreading
            known.append("two threads share a core" if shared else "one thread on each core")
        return ", ".join(known) or None


class Failure(Record):
    """Why a candidate fell out.

    Attributes:
        during: What was going on.
        cause: One line.
        log: The last lines that the worker process wrote.
    """

    during: Literal["build", "score", "time"]
    cause: str
    log: str = ""


EvidenceKind = Literal["selection", "run_off", "confirmation"]
"""The trials that a candidate may have been in, by the field of its result that holds the evidence."""

EVIDENCE_KINDS: tuple[EvidenceKind, ...] = get_args(EvidenceKind)


class CandidateResult(Record):
    """A candidate and all that became of it.

    Attributes:
        artifact_sha256: Hash over the artifact's files.
        cached_steps: How many of its steps came out of the cache.
        selection: Evidence that the choice was made on.
        run_off: Latencies of the run-off; of those that were in it and the baseline.
        confirmation: Evidence of fresh launches and the holdout; only for the chosen one.
    """

    plan: PlannedCandidate
    status: CandidateStatus = "planned"
    failure: Failure | None = None
    artifact_sha256: str | None = None
    size_bytes: int | None = None
    lineage: tuple[LineageStep, ...] = ()
    cached_steps: int = 0
    placement: Placement | None = None
    fell_back: bool = False
    settings: dict[str, str | int | bool] = {}
    selection: Evidence | None = None
    run_off: Evidence | None = None
    confirmation: Evidence | None = None

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.plan.name

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All that there is, in the order in which it was taken."""
        found = (getattr(self, kind) for kind in EVIDENCE_KINDS)
        return tuple(one for one in found if one is not None)

    @property
    def is_timed(self) -> bool:
        """Whether the selection timed it."""
        return self.selection is not None and bool(self.selection.measurements)


class Run(Record):
    """One run.

    Attributes:
        partial: Why the run holds less than was planned; None for a whole one.
        seconds: Wall-clock duration by phase.
        search: How much was seen of each space of choices that was explored.
        diagnosis: Why the chosen candidate is as fast as it is; None where that was not looked at.
    """

    schema_version: int = RUN_SCHEMA_VERSION
    mlopt_version: str
    status: Status
    started_at: str
    finished_at: str | None = None
    plan: Plan
    plan_sha256: str
    environment: Environment
    candidates: tuple[CandidateResult, ...]
    decision: Decision | None = None
    warnings: tuple[str, ...] = ()
    partial: str | None = None
    seconds: dict[str, float] = {}
    search: tuple[SearchSummary, ...] = ()
    diagnosis: Diagnosis | None = None

    def candidate(self, name: str) -> CandidateResult:
        """The candidate called ``name``.

        Raises:
            KeyError: There is none.
        """
        for result in self.candidates:
            if result.name == name:
                return result
        raise KeyError(name)

    @property
    def baseline(self) -> CandidateResult:
        """The candidate that all ratios and deltas are over."""
        return next(c for c in self.candidates if c.plan.role == "baseline")

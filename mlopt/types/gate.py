"""What ``mlopt gate`` found: every line of the contract, and the verdict that follows."""

from __future__ import annotations

from typing import Literal

from mlopt.types.decision import Outcome, Verdict, worst
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Quality
from mlopt.types.record import Record

GATE_SCHEMA_VERSION = 1

Subject = Literal["regression", "budget", "accuracy", "placement", "runs"]
"""What a line is about: slower than the reference, an absolute limit, answers, fallbacks, or that
it runs at all."""


RATIO = "ratio"
"""The unit of a verdict on a ratio of latencies."""


class GateLine(Record):
    """One line of the contract.

    Attributes:
        against: What the quantity was compared with; None for an absolute one.
        cause: Why it fails, where that is no number.
    """

    subject: Subject
    against: str | None = None
    verdict: Verdict
    cause: str | None = None

    @property
    def title(self) -> str:
        """The line in words, with what it is against."""
        return (
            self.verdict.line if self.against is None else f"{self.verdict.line} ({self.against})"
        )

    @property
    def outcome(self) -> Outcome:
        """Its verdict."""
        return self.verdict.outcome


class GateTiming(Record):
    """What was timed at the deciding workload, side by side: the one trial that the ratio is of.

    Attributes:
        against: What the ratios are over.
        p50_ratio: What ships over the other one: below 1 is faster.
        p50_ratio_confidence: Of its interval; that of a planned look differs from 95%.
        p99_ratio: None where there are not enough samples.
        samples: Of both together.
        looks: How often the gate looked before it ended; 0: no ratio is gated.
    """

    against: str
    workload: str
    p50_ms: Estimate
    p99_ms: Estimate | None
    p50_ratio: Estimate
    p50_ratio_confidence: float = 0.95
    p99_ratio: Estimate | None
    launches: int
    rounds: int
    samples: int
    looks: int
    stopped_because: str


class AbsoluteTiming(Record):
    """What ships at one workload: the one trial that lines of the budget are judged on.

    Attributes:
        p99_ratio: Over what it was timed beside; None where there are not enough samples.
        samples: Of both together.
        extends: Whether it followed a gate that ended before enough was known.
    """

    workload: str
    p50_ms: Estimate
    p99_ms: Estimate | None
    p99_ratio: Estimate | None
    launches: int
    rounds: int
    samples: int
    stopped_because: str
    extends: bool = False


class GateReport(Record):
    """A gate that has ended.

    Attributes:
        ship: What was checked, as it was named.
        reference: What it was compared with, as it was named; None: the baseline only.
        tolerance: How much slower the p50 may be, as a share of the reference's.
        quality: Answers of what ships on the holdout, against the baseline's and, where there is
            one, the reference's.
        timing: None where what ships cannot be run, so that nothing was timed.
        absolute: For each workload that the budget is judged at, the deciding one first.
        warnings: What a reader should know before trusting the verdict.
    """

    schema_version: int = GATE_SCHEMA_VERSION
    project: str
    ship: str
    reference: str | None
    baseline: str
    tolerance: float
    max_seconds: float
    lines: tuple[GateLine, ...]
    timing: GateTiming | None
    absolute: tuple[AbsoluteTiming, ...] = ()
    quality: dict[str, Quality]
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """FAIL if any line fails, else INCONCLUSIVE if any is, else PASS.

        Latency and accuracy are judged jointly: what became faster by becoming wrong fails.
        """
        return worst([line.outcome for line in self.lines])

    def of(self, outcome: Outcome) -> tuple[GateLine, ...]:
        """The lines with a certain verdict."""
        return tuple(line for line in self.lines if line.outcome == outcome)

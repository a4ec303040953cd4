"""What was observed of a candidate: nothing in here is a judgement."""

from typing import Literal

from mlopt.types.estimate import Estimate
from mlopt.types.record import Record
from mlopt.types.tensors import ArrayRef
from mlopt.types.workload import Workload

TailSupport = Literal["interval", "upper_bound", "insufficient"]


class Placement(Record):
    """Which share of a model's nodes each execution provider took.

    Attributes:
        nodes: Number of nodes by provider, after the basic graph optimizations.
    """

    nodes: dict[str, int]

    def share_on(self, provider: str) -> float:
        """The share of the nodes on ``provider``, 0 to 1."""
        total = sum(self.nodes.values())
        return self.nodes.get(provider, 0) / total if total else 1.0


class Measurement(Record):
    """Candidate x workload, timed.

    Attributes:
        trial: Only members of one trial, on one machine, may be compared.
        samples: Structured by columns ``ns``, ``launch`` and ``round``; shape (N, 3), int64.
        p99: None when there are not enough samples; with ``high`` only, an upper bound.
        p99_support: What the number of samples allows.
        stopped_because: Why no more was measured.
    """

    workload: Workload
    trial: str
    samples: ArrayRef
    launches: int
    rounds: int
    p50_ms: Estimate
    p90_ms: Estimate
    p99_ms: Estimate | None
    p99_support: TailSupport
    mean_ms: Estimate
    p50_ratio: Estimate | None
    p99_ratio: Estimate | None
    stopped_because: str
    warnings: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.samples.shape[0]


class MetricResult(Record):
    """One metric of a candidate on one split, against the baseline on the same examples.

    Attributes:
        delta: Candidate minus baseline, with its paired interval, in units of the metric.
        method: How the interval was made.
        gained: Examples that became right; None where right and wrong have no meaning.
        lost: Examples that became wrong.
    """

    name: str
    split: str
    examples: int
    value: float
    baseline_value: float
    delta: Estimate
    higher_is_better: bool
    max_drop: float | None
    method: str
    gained: int | None = None
    lost: int | None = None


class Quality(Record):
    """What a candidate answers on one split.

    Attributes:
        predictions: What is scored of the outputs; None when they were not to be kept.
        flip_rate: Share of the predictions (classes; those of the tokens that count; spans) that
            differ from the baseline's; None where nothing can flip: regression, embeddings.
    """

    split: str
    predictions: ArrayRef | None
    metrics: tuple[MetricResult, ...]
    flip_rate: float | None


class Evidence(Record):
    """All that one trial and one split say of a candidate.

    Attributes:
        cold_start_ms: Import of the runtime, loading and the first inference, in a new process
            whose files are in the page cache; the mean over the launches.
        peak_rss_bytes: High-water mark of the worker process, the mean over the launches.
    """

    measurements: tuple[Measurement, ...]
    quality: Quality | None
    cold_start_ms: Estimate | None
    peak_rss_bytes: Estimate | None

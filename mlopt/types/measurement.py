"""What was observed of a candidate: nothing in here is a judgement."""

from typing import Literal

from mlopt.types.estimate import Estimate
from mlopt.types.load import LoadResult
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


class Diagnostic(Record):
    """One thing that may have disturbed a measurement.

    Attributes:
        name: What was looked at: ``drift``, ``random walk``, ``two modes``, ``steal``, ...
        status: ``unknown`` where it cannot be read on this machine.
        seen: What was seen, with its number.
        advice: What to do about it; empty when there is nothing to do.
    """

    name: str
    status: Literal["ok", "warning", "unknown"]
    seen: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.seen}" + (f"; {self.advice}" if self.advice else "")


class Vitals(Record):
    """Counters of the machine at one moment; only their growth means something.

    Those of processors are over the ones that the process may use, in seconds of processor time.
    None: cannot be read on this machine.

    Attributes:
        clock_s: When they were read, from any origin.
        total_s: Time of any kind, idle included.
        busy_s: Time that anybody's work took.
        steal_s: Time that a hypervisor gave to other guests while work waited here.
        own_s: What this process and all below it took of the busy time.
        periods: Enforcement periods of the cgroup's quota in which it had work.
        throttled_periods: Those in which the quota ran out.
        throttled_s: How long its processors were then kept from running.
        mhz: The clock of the fastest of the processors, at this moment.
    """

    clock_s: float
    total_s: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None
    own_s: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_s: float | None = None
    mhz: float | None = None


class LaunchVitals(Record):
    """The machine before the first round of a launch, and after its last."""

    before: Vitals
    after: Vitals


class Measurement(Record):
    """Candidate x workload, timed.

    Attributes:
        trial: Only members of one trial, on one machine, may be compared.
        samples: Two int64 arrays: ``ns``, shape (N,), the latencies in the order they were taken,
            whose shape the reference has; and ``blocks``, shape (B, 3): the launch, the round and
            the number of samples of each block. Older runs have one, ``samples``, shape (N, 3).
        p99: None when there are not enough samples; with ``high`` only, an upper bound.
        p99_support: What the number of samples allows.
        p99_samples: How many independent samples the samples are worth, for the p99.
        stopped_because: Why no more was measured.
        diagnostics: What was looked at beside the clock, whether or not it was amiss.
        walked: How far the latency went where it did a random walk: the largest median of a block
            over the smallest. None where it did not.
        warnings: What a reader should know before trusting the numbers.
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
    p99_samples: float | None = None
    mean_ms: Estimate
    p50_ratio: Estimate | None
    p99_ratio: Estimate | None
    stopped_because: str
    diagnostics: tuple[Diagnostic, ...] = ()
    walked: float | None = None
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
        p_value: Of McNemar's exact test that nothing changed; None where right and wrong have no
            meaning.
        units: Groups that the examples fall into, each of which counts as one; None: every example
            is a unit.
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
    p_value: float | None = None
    units: int | None = None


class SliceResult(Record):
    """The deciding metric on a part of the examples, or the nearest one that a part can have.

    Attributes:
        name: ``class 3``, or the user's name for it.
        examples: How many the slice holds; of a class of tokens, the sentences that have one.
        delta: Candidate minus baseline on the slice, with its paired interval.
        p_value: That the slice lost nothing, adjusted by Holm for all slices of the candidate.
        least_loss: What it lost at least, with the intervals of all slices holding at once
            (Bonferroni); 0 where that may be nothing.
    """

    name: str
    metric: str
    examples: int
    value: float
    baseline_value: float
    delta: Estimate
    p_value: float
    least_loss: float = 0.0


class Quality(Record):
    """What a candidate answers on one split.

    Attributes:
        predictions: What is scored of the outputs; None when they were not to be kept.
        flip_rate: Share of the predictions (classes; those of the tokens that count; spans) that
            differ from the baseline's; None where nothing can flip: regression, embeddings.
        broken_rate: Share of the predictions that were right and became wrong; None where right
            and wrong have no meaning.
        slices: Worst first.
        members: Boolean masks of the user's slices, ``slice <name>``, and ``groups``, the group of
            each example; None where the project names neither, or nothing was to be kept.
    """

    split: str
    predictions: ArrayRef | None
    metrics: tuple[MetricResult, ...]
    flip_rate: float | None
    broken_rate: float | None = None
    slices: tuple[SliceResult, ...] = ()
    members: ArrayRef | None = None


class Evidence(Record):
    """All that one trial and one split say of a candidate.

    Attributes:
        cold_start_ms: Import of the runtime, loading and the first inference, in a new process
            whose files are in the page cache; the mean over the launches.
        peak_rss_bytes: High-water mark of the worker process, the mean over the launches.
        launches: Structured by columns cold start (ns), peak RSS (bytes) and involuntary context
            switches, and timed work (ns) that they are of; shape (L, 4), int64, -1 for what was not
            counted. None in runs of before there was one.
        left_because: Why the candidate left the trial before its end; None: it did not.
        vitals: The machine in each launch of the trial, whichever candidate ran.
        load: What it sustains, for each workload that a throughput line of the budget is about.
    """

    measurements: tuple[Measurement, ...]
    quality: Quality | None
    cold_start_ms: Estimate | None
    peak_rss_bytes: Estimate | None
    launches: ArrayRef | None = None
    left_because: str | None = None
    vitals: tuple[LaunchVitals, ...] = ()
    load: tuple[LoadResult, ...] = ()

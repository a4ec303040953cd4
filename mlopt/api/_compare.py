"""Two models against each other: ``mlopt compare``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from mlopt.api._document import interval
from mlopt.api._profile import SYNTHETIC
from mlopt.errors import ConfigError
from mlopt.pipeline.compare import Compared, CompareRequest, compare_artifacts
from mlopt.pipeline.reference import Entrant
from mlopt.project import load_project
from mlopt.report.text import change, significant
from mlopt.report.text import interval as shown
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.types.budget import format_quantity
from mlopt.types.estimate import Estimate
from mlopt.types.events import OnEvent
from mlopt.types.measurement import Evidence, MetricResult
from mlopt.types.plan import Schedule

DOCUMENT_SCHEMA_VERSION = 1


class CompareRow(NamedTuple):
    """One quantity of both, as text for a table."""

    quantity: str
    a: str
    b: str
    ratio: str


class CompareResult(NamedTuple):
    """What was seen of A and B.

    Attributes:
        synthetic: Whether the inputs were made up.
        batch_size: Examples in one inference.
    """

    compared: Compared
    synthetic: bool
    batch_size: int

    @property
    def sentence(self) -> str:
        """Which is faster, and by how much, if that can be told."""
        return speed_sentence(self.compared.contest.p50_ratio)

    @property
    def rows(self) -> list[CompareRow]:
        """A row for each quantity: A, B, and B over A (B minus A for metrics)."""
        seen = self.compared.contest
        a, b = (one.measurements[0] for one in (seen.a, seen.b))
        sizes = self.compared.sizes
        found = [
            CompareRow("p50, ms", shown(a.p50_ms), shown(b.p50_ms), shown(seen.p50_ratio, least=3)),
            CompareRow("p99, ms", shown(a.p99_ms), shown(b.p99_ms), shown(seen.p99_ratio)),
            CompareRow("mean, ms", shown(a.mean_ms), shown(b.mean_ms), ""),
            CompareRow("peak RSS", _bytes(seen.a), _bytes(seen.b), ""),
            CompareRow(
                "size",
                format_quantity("_bytes", sizes[0]),
                format_quantity("_bytes", sizes[1]),
                significant(sizes[1] / sizes[0]),
            ),
        ]
        quality = self.compared.quality
        for metric in quality.metrics if quality is not None else ():
            values = (significant(metric.baseline_value, 4), significant(metric.value, 4))
            found.append(CompareRow(metric.name, *values, change(metric.delta)))
        return found

    @property
    def notes(self) -> list[str]:
        """What a reader should know before trusting the numbers."""
        seen = self.compared.contest
        return [
            f"{seen.launches} launches, {seen.rounds} rounds, {seen.samples} samples; ended because: "
            f"{seen.stopped_because}",
            *self.warnings,
        ]

    @property
    def warnings(self) -> list[str]:
        """What may have disturbed the comparison, and that inputs are synthetic if they are."""
        return [*([SYNTHETIC] if self.synthetic else []), *self.compared.warnings]

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        seen, quality = self.compared.contest, self.compared.quality
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "a": _side(self.compared.a, self.compared.sizes[0], seen.a),
            "b": _side(self.compared.b, self.compared.sizes[1], seen.b),
            "batch_size": self.batch_size,
            "synthetic_inputs": self.synthetic,
            "p50_ratio": _value(seen.p50_ratio),
            "p50_ratio_ci": interval(seen.p50_ratio),
            "p99_ratio": _value(seen.p99_ratio),
            "p99_ratio_ci": interval(seen.p99_ratio),
            "metrics": None if quality is None else [_metric(one) for one in quality.metrics],
            "flip_rate": None if quality is None else quality.flip_rate,
            "launches": seen.launches,
            "rounds": seen.rounds,
            "samples": seen.samples,
            "stopped_because": seen.stopped_because,
            "warnings": self.warnings,
        }


def compare(
    a: str,
    b: str,
    *,
    data: Path | None = None,
    project: Path | None = None,
    provider: str | None = None,
    batch_size: int = 1,
    max_seconds: float = 60.0,
    launches: int | None = None,
    seed: int = 0,
    on_event: OnEvent | None = None,
) -> CompareResult:
    """Times two artifacts side by side, in interleaved rounds.

    Args:
        a: What ratios are over: an ``.onnx`` file, the directory of an artifact or of a run, or
            ``RUN:CANDIDATE``, with ``@PROVIDER`` at its end to choose where it runs.
        b: The other one, in the same forms.
        data: An ``.npz`` file with an array for each input.
        project: Directory of ``mlopt.yaml``: its holdout is what both are given, and their answers
            to it are compared as well. Default: synthetic inputs, if there is no ``data`` either.
        provider: Where both run, unless their names say so.
        batch_size: Examples in one inference.
        max_seconds: Wall-clock limit of the timing.
        launches: Lives of the worker processes, at least.
        seed: For synthetic inputs, the order of the rounds, and the bootstrap.
        on_event: Called with what is going on.

    Raises:
        MloptError: One of them cannot be found or run, or they do not take the same inputs.
    """
    if data is not None and project is not None:
        raise ConfigError("--data and --project both say what the inputs are: give one of them.")
    _refuse_zero({"--batch-size": batch_size, "--max-seconds": max_seconds, "--launches": launches})
    loaded = None if project is None else load_project(project)
    schedule = Schedule() if loaded is None else loaded.project.measurement
    if launches is not None:
        most = max(launches, schedule.most_launches)
        schedule = schedule.model_copy(update={"launches": launches, "most_launches": most})
    request = CompareRequest(
        a=a,
        b=b,
        provider=provider,
        data=data,
        loaded=loaded,
        batch_size=batch_size,
        max_seconds=max_seconds,
        schedule=schedule,
        seed=seed,
    )
    with tempfile.TemporaryDirectory(prefix="mlopt-") as work:
        found = compare_artifacts(
            request, Cache(default_cache_dir()), Path(work), on_event or (lambda event: None)
        )
        return CompareResult(found, data is None and loaded is None, batch_size)


def _refuse_zero(values: dict[str, float | None]) -> None:
    for option, value in values.items():
        if value is not None and not value > 0:
            raise ConfigError(f"{option} must be positive, and is {value:g}.")


def speed_sentence(ratio: Estimate) -> str:
    """Which is faster at p50, in words.

    Args:
        ratio: B over A.
    """
    low, high = ratio.low, ratio.high
    if low is None or high is None:
        return f"no difference can be told: the p50 ratio is {shown(ratio)}, and has no interval."
    if high < 1:
        faster = Estimate(value=1 / ratio.value, low=1 / high, high=1 / low)
        return f"B is {_times(faster)}"
    if low > 1:
        return f"B is {_times(ratio).replace('faster', 'slower')}"
    return f"no difference can be told: the p50 ratio, B over A, is {shown(ratio, least=3)}."


def _times(factor: Estimate) -> str:
    value, _, rest = shown(factor, least=2).partition(" ")
    return f"{value}x faster at p50 {rest}."


def _bytes(evidence: Evidence) -> str:
    seen = evidence.peak_rss_bytes
    return "" if seen is None else format_quantity("_bytes", seen.value)


def _side(entrant: Entrant, size_bytes: int, evidence: Evidence) -> dict[str, Any]:
    timed = evidence.measurements[0]
    rss = evidence.peak_rss_bytes
    return {
        "name": entrant.name,
        "runner": entrant.runner,
        "provider": entrant.provider,
        "settings": entrant.settings,
        "size_bytes": size_bytes,
        "p50_ms": _value(timed.p50_ms),
        "p50_ci_ms": interval(timed.p50_ms),
        "p99_ms": _value(timed.p99_ms),
        "p99_ci_ms": interval(timed.p99_ms),
        "mean_ms": _value(timed.mean_ms),
        "peak_rss_bytes": _value(rss),
    }


def _metric(metric: MetricResult) -> dict[str, Any]:
    return {
        "name": metric.name,
        "a": metric.baseline_value,
        "b": metric.value,
        "delta": metric.delta.value,
        "delta_ci": interval(metric.delta),
        "split": metric.split,
        "examples": metric.examples,
    }


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value

"""Time one model: ``mlopt profile``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlopt.api._document import interval
from mlopt.api._profile_load import LoadOptions, LoadRow, load_document, load_notes, load_rows
from mlopt.errors import ConfigError
from mlopt.pipeline.profile import Profiled, ProfileRequest, profile_model
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.types.budget import format_quantity
from mlopt.types.estimate import Estimate
from mlopt.types.events import OnEvent
from mlopt.types.measurement import Measurement, Placement
from mlopt.types.plan import Schedule

SYNTHETIC = "Inputs are synthetic (random): give real ones with --data FILE.npz."
DOCUMENT_SCHEMA_VERSION = 1
ALL_FAILED = 3


class ProfileRow(NamedTuple):
    """One provider and batch size, as text for a table."""

    provider: str
    batch: str
    p50: str
    p90: str
    p99: str
    mean: str
    cold_start: str
    rss: str
    placement: str


class ProfileResult(NamedTuple):
    """Timings of one model.

    Attributes:
        synthetic: Whether the inputs were made up.
        load: What was asked about load; None: nothing.
    """

    model: str
    synthetic: bool
    profiled: list[Profiled]
    load: LoadOptions | None = None

    @property
    def exit_code(self) -> int:
        """0, or 3 when no provider could time the model."""
        return 0 if any(p.evidence is not None for p in self.profiled) else ALL_FAILED

    @property
    def rows(self) -> list[ProfileRow]:
        """A row for each provider and batch size; intervals are at 95%."""
        return [
            _row(one, measurement)
            for one in self.profiled
            if one.evidence is not None
            for measurement in one.evidence.measurements
        ]

    @property
    def load_rows(self) -> list[LoadRow]:
        """A row for each provider, batch size and load."""
        return [row for one in self.profiled for row in load_rows(one.provider, one.evidence)]

    @property
    def notes(self) -> list[str]:
        """What a reader should know before trusting the numbers."""
        found = [SYNTHETIC] if self.synthetic else []
        for one in self.profiled:
            if one.failure is not None:
                found.append(f"{one.provider} failed: {one.failure.cause}")
            if one.fell_back:
                found.append(
                    f"{one.provider}: some nodes ran elsewhere ({_placement(one.placement)})."
                )
            if one.evidence is not None:
                found += [
                    f"{one.provider}: {w}" for m in one.evidence.measurements for w in m.warnings
                ]
            if self.load is not None:
                found += load_notes(one.provider, one.evidence, self.load)
        return found

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "model": self.model,
            "synthetic_inputs": self.synthetic,
            "providers": [
                _document(one) | load_document(one.evidence, self.load) for one in self.profiled
            ],
            "warnings": self.notes,
        }


def profile(
    model: str | Path,
    *,
    providers: Sequence[str] = (),
    batch_sizes: Sequence[int] = (),
    data: Path | None = None,
    seed: int = 0,
    launches: int | None = None,
    rounds: int = 48,
    time_limit_s: float | None = None,
    load: bool = False,
    callers: Sequence[int] = (),
    rates: Sequence[float] = (),
    p99: str | None = None,
    target_qps: float | None = None,
    headroom: float | None = None,
    seconds: float | None = None,
    on_event: OnEvent | None = None,
) -> ProfileResult:
    """Times one model on one or more execution providers, interleaved.

    Args:
        model: An ``.onnx`` file, the directory of an artifact or of a run, or ``RUN:CANDIDATE``,
            with ``@PROVIDER`` at its end to choose where it runs.
        providers: By name; default: where it is meant to run, else the CPU. Ratios are over the
            first one.
        batch_sizes: Default: what the model insists on, else 1.
        data: An ``.npz`` file with an array for each input; default: synthetic inputs.
        seed: For synthetic inputs, the order of the rounds, and the bootstrap.
        launches: Lives of the worker processes; default: as many as the asked precision needs,
            from 5 to 12.
        rounds: Rounds in each launch.
        time_limit_s: Wall-clock limit.
        load: Whether to measure throughput and latency under load as well.
        callers: Of each closed loop; default: 1, and as many as there are processors.
        rates: Poisson arrivals a second, each measured.
        p99: Such as ``5 ms``: also look for the highest rate that keeps it.
        target_qps: Requests a second that replicas are to serve together.
        headroom: Share of each replica that is kept free, 0 to 1; default: 0.3.
        seconds: At one load; default: 20, and up to 60 where the queue is busy.
        on_event: Called with what is going on.

    Raises:
        MloptError: The model, the data or a provider cannot be used.
    """
    if any(size < 1 for size in batch_sizes):
        raise ConfigError("--batch-size must be at least 1.")
    if time_limit_s is not None and time_limit_s <= 0:
        raise ConfigError(f"--time-limit must be positive, and is {time_limit_s:g}.")
    asked = LoadOptions.checked(
        load=load,
        callers=callers,
        rates=rates,
        p99=p99,
        target_qps=target_qps,
        headroom=headroom,
        seconds=seconds,
    )
    request = ProfileRequest(
        model=str(model),
        providers=tuple(dict.fromkeys(providers)),
        batch_sizes=tuple(dict.fromkeys(batch_sizes)),
        data=data,
        seed=seed,
        schedule=Schedule(rounds=rounds)
        if launches is None
        else Schedule(launches=launches, rounds=rounds),
        time_limit_s=time_limit_s,
        load=None if asked is None else asked.request,
    )
    with tempfile.TemporaryDirectory(prefix="mlopt-") as work:
        found = profile_model(
            request, Cache(default_cache_dir()), Path(work), on_event or (lambda event: None)
        )
    return ProfileResult(str(model), data is None, found, asked)


def _row(one: Profiled, measurement: Measurement) -> ProfileRow:
    assert one.evidence is not None
    cold, rss = one.evidence.cold_start_ms, one.evidence.peak_rss_bytes
    return ProfileRow(
        provider=one.provider,
        batch=str(measurement.workload.batch_size),
        p50=_ms(measurement.p50_ms),
        p90=_ms(measurement.p90_ms),
        p99=_ms(measurement.p99_ms),
        mean=_ms(measurement.mean_ms),
        cold_start="" if cold is None else format_quantity("_ms", cold.value),
        rss="" if rss is None else format_quantity("_bytes", rss.value),
        placement=_placement(one.placement),
    )


def _ms(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not enough samples"
    if estimate.low is None:
        return (
            f"< {estimate.high:.3g} ms" if estimate.high is not None else f"{estimate.value:.3g} ms"
        )
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g}) ms"


def _placement(placement: Placement | None) -> str:
    if placement is None:
        return ""
    return ", ".join(
        f"{count} {name.removesuffix('ExecutionProvider')}"
        for name, count in placement.nodes.items()
    )


def _document(one: Profiled) -> dict[str, Any]:
    evidence = one.evidence
    return {
        "provider": one.provider,
        "failure": None if one.failure is None else one.failure.cause,
        "fell_back": one.fell_back,
        "nodes": None if one.placement is None else one.placement.nodes,
        "cold_start_ms": None if evidence is None else _estimate(evidence.cold_start_ms),
        "peak_rss_bytes": None if evidence is None else _estimate(evidence.peak_rss_bytes),
        "workloads": [_workload(m) for m in (evidence.measurements if evidence else ())],
    }


def _workload(measurement: Measurement) -> dict[str, Any]:
    return {
        "batch_size": measurement.workload.batch_size,
        "samples": measurement.count,
        "launches": measurement.launches,
        "rounds": measurement.rounds,
        "p50_ms": _estimate(measurement.p50_ms),
        "p90_ms": _estimate(measurement.p90_ms),
        "p99_ms": _estimate(measurement.p99_ms),
        "mean_ms": _estimate(measurement.mean_ms),
        "p50_ratio": _estimate(measurement.p50_ratio),
        "stopped_because": measurement.stopped_because,
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"value": estimate.value, "ci": interval(estimate)}

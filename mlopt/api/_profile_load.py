"""The part of ``mlopt profile`` that ``--load`` adds: its options, its table, its document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from mlopt.api._document import interval
from mlopt.errors import ConfigError
from mlopt.machine import usable_cpus
from mlopt.pipeline.profile import LoadRequest
from mlopt.profiling.load import MOST_SECONDS, SECONDS
from mlopt.types.budget import BudgetLine, format_quantity
from mlopt.types.decision import sustained_in_words
from mlopt.types.estimate import Estimate
from mlopt.types.load import HEADROOM, LoadPoint, LoadResult, replicas
from mlopt.types.measurement import Evidence


class LoadOptions(NamedTuple):
    """What the user asks about load.

    Attributes:
        target_qps: Requests a second that replicas are to serve together; None: nobody asked.
        headroom: Share of each replica that is kept free.
    """

    request: LoadRequest
    target_qps: float | None
    headroom: float

    @classmethod
    def checked(
        cls,
        *,
        load: bool,
        callers: Sequence[int],
        rates: Sequence[float],
        p99: str | None,
        target_qps: float | None,
        headroom: float | None,
        seconds: float | None,
    ) -> LoadOptions | None:
        """The options, or None without ``load``.

        Raises:
            ConfigError: One is wrong, or needs another that is not there.
        """
        given = {
            "--callers": bool(callers),
            "--rate": bool(rates),
            "--p99": p99 is not None,
            "--target-qps": target_qps is not None,
            "--headroom": headroom is not None,
            "--seconds": seconds is not None,
        }
        if not load:
            if alone := [name for name, is_given in given.items() if is_given]:
                raise ConfigError(f"{', '.join(alone)} needs --load: add it, or leave this out.")
            return None
        if target_qps is not None and p99 is None:
            raise ConfigError(
                "--target-qps needs --p99, which says what a replica must keep: add --p99 '5 ms'."
            )
        if headroom is not None and target_qps is None:
            raise ConfigError("--headroom needs --target-qps: add the rate that is to be served.")
        if any(count < 1 for count in callers):
            raise ConfigError("--callers must be at least 1.")
        for name, values in {
            "--rate": rates,
            "--target-qps": [] if target_qps is None else [target_qps],
            "--seconds": [SECONDS if seconds is None else seconds],
        }.items():
            if wrong := [value for value in values if not 0 < value < math.inf]:
                raise ConfigError(f"{name} must be positive, and is {wrong[0]:g}.")
        kept = HEADROOM if headroom is None else headroom
        if not 0 <= kept < 1:
            raise ConfigError(f"--headroom is a share from 0 to below 1, and is {kept:g}.")
        request = LoadRequest(
            callers=tuple(dict.fromkeys(callers or (1, usable_cpus()))),
            rates=tuple(dict.fromkeys(rates)),
            p99_budget_ms=None if p99 is None else _p99_ms(p99),
            seconds=SECONDS if seconds is None else seconds,
            most_seconds=MOST_SECONDS if seconds is None else seconds,
        )
        return cls(request, target_qps, kept)


class LoadRow(NamedTuple):
    """One load, as text for a table."""

    provider: str
    batch: str
    loop: str
    callers: str
    rate: str
    throughput: str
    p50: str
    p99: str
    sustained: str


def load_rows(provider: str, evidence: Evidence | None) -> list[LoadRow]:
    """A row for each load; intervals are at 95%."""
    return [
        LoadRow(
            provider=provider,
            batch=str(result.workload.batch_size),
            loop=point.loop,
            callers=str(point.callers),
            rate="" if point.rate_per_s is None else f"{point.rate_per_s:.4g}",
            throughput=_shown(point.throughput_per_s, ""),
            p50="" if point.was_cut_off else _shown(point.p50_ms, " ms"),
            p99="queue grows" if point.was_cut_off else _shown(point.p99_ms, " ms"),
            sustained=_sustained(point),
        )
        for result in (evidence.load if evidence is not None else ())
        for point in result.points
    ]


def load_notes(provider: str, evidence: Evidence | None, asked: LoadOptions) -> list[str]:
    """What each search found, the replicas that follow from it, and what there was no time for."""
    found = []
    if evidence is not None and not any(result.points for result in evidence.load):
        found.append(
            f"{provider}: the time limit came before a load was measured, which takes "
            f"{asked.request.seconds:g} s each: allow more with --time-limit, or less with --seconds."
        )
    for result in evidence.load if evidence is not None else ():
        if result.threads is not None:
            found.append(
                f"{provider}, {result.workload.name}: the session has {result.threads} thread(s) "
                "inside an operator, which its callers share."
            )
        if asked.request.p99_budget_ms is None:
            continue
        rate, budget = (
            result.sustained_per_s,
            format_quantity("p99_ms", asked.request.p99_budget_ms),
        )
        words = "no rate could be judged" if rate is None else sustained_in_words(rate)
        found.append(
            f"{provider}, {result.workload.name}: under a p99 of {budget}, {words} "
            f"({result.stopped_because})."
        )
        if asked.target_qps is not None:
            found.append(_replicas_in_words(result, asked.target_qps, asked.headroom))
    return found


def load_document(evidence: Evidence | None, asked: LoadOptions | None) -> dict[str, Any]:
    """What ``--json`` says of the load of one provider; nothing without ``--load``."""
    if asked is None:
        return {}
    return {
        "load": [_result(result, asked) for result in (evidence.load if evidence else ())],
    }


def _replicas_in_words(result: LoadResult, target: float, headroom: float) -> str:
    needed = _replicas(result, target, headroom)
    goal = format_quantity("_per_s", target)
    if needed is None or result.sustained_per_s is None:
        return f"Replicas for {goal} cannot be told: no rate was shown to be sustained."
    each = format_quantity("_per_s", result.sustained_per_s.value)
    return f"{needed} replica(s) serve {goal}: each sustains {each}, and {headroom:.0%} of it is kept free."


def _replicas(result: LoadResult, target: float | None, headroom: float) -> int | None:
    rate = result.sustained_per_s
    if target is None or rate is None or rate.low is None:
        return None
    return replicas(target, rate.low, headroom)


def _p99_ms(text: str) -> float:
    try:
        return BudgetLine.parse(f"p99 <= {text}").limit
    except ConfigError as e:
        raise ConfigError(f"--p99 {text!r} is no duration. Write it as '5 ms'.") from e


def _sustained(point: LoadPoint) -> str:
    if point.was_cut_off:
        return "no: cut off"
    if point.sustained is None:
        return "" if point.late_share is None else "cannot be told"
    return "yes" if point.sustained else "no"


def _shown(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return "not enough samples"
    if estimate.low is None or estimate.high is None:
        bound = "" if estimate.high is None else f", below {estimate.high:.4g}"
        return f"{estimate.value:.4g}{bound}{unit}"
    return f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g}){unit}"


def _result(result: LoadResult, asked: LoadOptions) -> dict[str, Any]:
    rate = result.sustained_per_s
    return {
        "batch_size": result.workload.batch_size,
        "threads": result.threads,
        "p99_budget_ms": result.p99_budget_ms,
        "points": [_point(point) for point in result.points],
        "sustained_per_s": None if rate is None else rate.low,
        "not_sustained_per_s": None if rate is None else rate.high,
        "resolution": result.resolution,
        "stopped_because": result.stopped_because,
        "target_qps": asked.target_qps,
        "headroom": asked.headroom,
        "replicas": _replicas(result, asked.target_qps, asked.headroom),
    }


def _point(point: LoadPoint) -> dict[str, Any]:
    return {
        "loop": point.loop,
        "callers": point.callers,
        "rate_per_s": point.rate_per_s,
        "seconds": point.seconds,
        "launches": point.launches,
        "requests": point.requests,
        "unserved": point.unserved,
        "throughput_per_s": _estimate(point.throughput_per_s),
        "p50_ms": _estimate(point.p50_ms),
        "p99_ms": _estimate(point.p99_ms),
        "late_share": _estimate(point.late_share),
        "sustained": point.sustained,
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"value": estimate.value, "ci": interval(estimate)}

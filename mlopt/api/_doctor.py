"""Look at the machine: ``mlopt doctor``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from mlopt.machine import describe_environment, read_processor, usable_cpus
from mlopt.providers import PROVIDERS, available_providers, runtime_problem
from mlopt.runners import RUNNERS
from mlopt.store.cache import default_cache_dir
from mlopt.types.run import Environment

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
LOAD_S = 0.5
BUSY_PERCENT = 20.0
LITTLE_MEMORY_BYTES = 2_000_000_000
DOCUMENT_SCHEMA_VERSION = 1


class DoctorCheck(NamedTuple):
    """One finding, with what to do about it."""

    name: str
    status: Literal["ok", "warning", "missing"]
    detail: str


class DoctorReport(NamedTuple):
    """The machine, and what is wrong with it for measuring."""

    environment: Environment
    checks: list[DoctorCheck]

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "environment": self.environment.model_dump(mode="json"),
            "checks": [check._asdict() for check in self.checks],
        }


def doctor() -> DoctorReport:
    """Describes the machine, and checks what mlopt needs and what disturbs measurements."""
    providers = available_providers()
    usable = tuple(name for name, reason in providers.items() if reason is None)
    checks = [
        _runtime(),
        *_runners(),
        *_providers(providers),
        _instructions(),
        *_machine(),
        _cache(),
    ]
    return DoctorReport(describe_environment(usable), checks)


def _runtime() -> DoctorCheck:
    problem = runtime_problem()
    return DoctorCheck(
        "ONNX Runtime", "missing" if problem else "ok", problem or "exactly one package"
    )


def _runners() -> Iterator[DoctorCheck]:
    for name, kind in RUNNERS.entries.items():
        reason = kind().unavailable_because()
        yield DoctorCheck(f"runner {name}", "missing" if reason else "ok", reason or kind.summary)


def _providers(found: dict[str, str | None]) -> Iterator[DoctorCheck]:
    for name, reason in found.items():
        summary = PROVIDERS[name].summary
        yield DoctorCheck(f"provider {name}", "missing" if reason else "ok", reason or summary)


def _instructions() -> DoctorCheck:
    processor = read_processor()
    name = "INT8 instructions"
    if processor.has_vnni:
        return DoctorCheck(name, "ok", "VNNI or AMX: 8-bit products do not saturate")
    if processor.is_x86:
        detail = "no VNNI or AMX: INT8 gains little, and weights are quantized to 7 bits"
        return DoctorCheck(name, "warning", detail)
    if processor.flags & {"asimddp", "i8mm"}:
        return DoctorCheck(name, "ok", "the Arm dot product")
    return DoctorCheck(name, "warning", "none known: INT8 may be slower than fp32 here")


def _machine() -> Iterator[DoctorCheck]:
    host = psutil.cpu_count() or 1
    cpus = usable_cpus()
    detail = f"{cpus} of {host} may be used; thread pools are sized to that"
    yield DoctorCheck("processors", "ok", detail)
    memory = psutil.virtual_memory().available
    small = memory < LITTLE_MEMORY_BYTES
    advice = ": close other programs" if small else ""
    yield DoctorCheck(
        "memory", "warning" if small else "ok", f"{memory / 1e9:.1f} GB available{advice}"
    )
    busy = psutil.cpu_percent(interval=LOAD_S)
    loud = busy > BUSY_PERCENT
    advice = ": something else is running, and timings will be noisy" if loud else ""
    yield DoctorCheck(
        "other load", "warning" if loud else "ok", f"{busy:.0f}% of the processors{advice}"
    )
    yield _governor()


def _governor() -> DoctorCheck:
    try:
        governor = GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:
        return DoctorCheck("frequency governor", "ok", "cannot be read here")
    if governor == "performance":
        return DoctorCheck("frequency governor", "ok", governor)
    detail = f"{governor}: the frequency follows the load; 'performance' gives steadier timings"
    return DoctorCheck("frequency governor", "warning", detail)


def _cache() -> DoctorCheck:
    place = default_cache_dir()
    parent = next(p for p in (place, *place.parents) if p.exists())
    if os.access(parent, os.W_OK):
        return DoctorCheck("cache", "ok", "writable")
    detail = (
        f"{place} cannot be written to: set MLOPT_CACHE_DIR to another place, or use --no-cache"
    )
    return DoctorCheck("cache", "warning", detail)

"""Look at the machine, and try how quiet it is: ``mlopt doctor``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import psutil

from mlopt.api._noise import DURATIONS_S, NoiseFloor, measure_noise_floor
from mlopt.errors import ConfigError, MloptError
from mlopt.machine import read_processor, usable_cpus
from mlopt.machine.environment import describe_environment
from mlopt.machine.frequency import governor
from mlopt.profiling.looks import LOOKS
from mlopt.providers import (
    available_providers,
    known_providers,
    runtime_builds,
    runtime_problem,
)
from mlopt.runners import RUNNERS
from mlopt.store.cache import default_cache_dir
from mlopt.types.events import OnEvent
from mlopt.types.run import Environment

LOAD_S = 0.5
BUSY_PERCENT = 20.0
LITTLE_MEMORY_BYTES = 2_000_000_000
NOISE_S = 20.0
LEAST_NOISE_S = 5.0
DOCUMENT_SCHEMA_VERSION = 1


class DoctorCheck(NamedTuple):
    """One finding, with what to do about it."""

    name: str
    status: Literal["ok", "warning", "missing"]
    detail: str


class DoctorReport(NamedTuple):
    """The machine, and what is wrong with it for measuring.

    Attributes:
        noise_floor: None where it was not asked for, or could not be measured.
    """

    environment: Environment
    checks: list[DoctorCheck]
    noise_floor: NoiseFloor | None = None

    @property
    def noise(self) -> list[str]:
        """The noise floor in sentences; none where there is no floor."""
        return [] if self.noise_floor is None else list(_in_words(self.noise_floor))

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "environment": self.environment.model_dump(mode="json"),
            "checks": [check._asdict() for check in self.checks],
            "noise_floor": None if self.noise_floor is None else self.noise_floor.document(),
        }


def doctor(*, seconds: float | None = NOISE_S, on_event: OnEvent | None = None) -> DoctorReport:
    """Describes the machine, checks what mlopt needs, and measures the noise floor.

    The noise floor is a small model timed against itself. It is stored beside the cache, for the
    gate to warn about a tolerance that is finer.

    Args:
        seconds: Wall-clock duration of that; None leaves it out.
        on_event: Called with what is going on.

    Raises:
        ConfigError: ``seconds`` is too short to tell anything.
    """
    if seconds is not None and not LEAST_NOISE_S <= seconds < math.inf:
        raise ConfigError(
            f"--seconds must be {LEAST_NOISE_S:g} at least, and is {seconds:g}. Give more, or "
            "leave the noise floor out with --no-noise."
        )
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
    floor = None
    if seconds is not None:
        try:
            floor = measure_noise_floor(seconds, on_event or (lambda event: None))
        except MloptError as e:
            checks.append(DoctorCheck("noise floor", "warning", f"not measured: {e}"))
    return DoctorReport(describe_environment(usable, runtime_builds()), checks, floor)


def _in_words(floor: NoiseFloor) -> Iterator[str]:
    low, high = floor.ratio.low, floor.ratio.high
    if floor.ratio.is_hardly_known:
        yield (
            f"A model of {floor.p50_ms:.2g} ms against itself: {floor.launches} launches of "
            f"{floor.launch_s:.1f} s are too few to tell any change here. Allow more with --seconds."
        )
        yield from floor.warnings
        return
    yield (
        f"A model of {floor.p50_ms:.2g} ms against itself: p50 ratio {floor.ratio.value:.4f} "
        f"({low:.4f} to {high:.4f}), {floor.launches} launches of {floor.launch_s:.1f} s."
    )
    changes = ((seconds, floor.smallest_change(seconds)) for seconds in DURATIONS_S)
    known = "; ".join(
        f"in {_duration(seconds)}: {_share(change)}"
        for seconds, change in changes
        if math.isfinite(change)
    )
    known = known or "none within 5 min"
    yield (
        f"The smallest change of a p50 that can be told from noise here, 95 times in 100: {known}; with "
        "as many launches as fit ('mlopt compare --launches')."
    )
    gate = floor.smallest_change_of_a_gate()
    if math.isfinite(gate):
        yield (
            f"A gate makes {LOOKS[-1]} launches at most: with a tolerance of {_share(gate)}, an "
            "unchanged model passes 95 times in 100."
        )
    yield from floor.warnings


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _share(change: float) -> str:
    return f"{change:.0%}" if change >= 0.1 else f"{change:.1%}"


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
    """A line for each provider and variant; those of one provider that lack the same share theirs."""
    lines: dict[tuple[str, str], list[str]] = {}
    for name, one in known_providers().items():
        lines.setdefault((one.name, found[name] or one.about), []).append(name)
    for (_, detail), (name, *others) in lines.items():
        also = f" (So it is with {', '.join(others)}.)" if others else ""
        lacks = found[name] is not None
        yield DoctorCheck(f"provider {name}", "missing" if lacks else "ok", detail + also)


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
    name = "frequency governor"
    found = governor()
    if found is None:
        return DoctorCheck(name, "ok", "cannot be read here")
    if found == "performance":
        return DoctorCheck(name, "ok", found)
    detail = f"{found}: the frequency follows the load; 'performance' gives steadier timings"
    return DoctorCheck(name, "warning", detail)


def _cache() -> DoctorCheck:
    place = default_cache_dir()
    parent = next(p for p in (place, *place.parents) if p.exists())
    if os.access(parent, os.W_OK):
        return DoctorCheck("cache", "ok", "writable")
    detail = (
        f"{place} cannot be written to: set MLOPT_CACHE_DIR to another place, or use --no-cache"
    )
    return DoctorCheck("cache", "warning", detail)

"""How small a change this machine can tell from noise: a model timed against itself."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from scipy import special

from mlopt.api._document import interval
from mlopt.errors import WorkerError
from mlopt.machine import cpu_quota, read_processor, usable_cpus
from mlopt.machine.environment import library_versions
from mlopt.pipeline.contest import Side, Terms, contest
from mlopt.pipeline.limits import default_limits
from mlopt.pipeline.recorder import utc_now
from mlopt.profiling.looks import LOOKS
from mlopt.runners import RUNNERS
from mlopt.store.cache import default_cache_dir
from mlopt.store.files import write_atomically
from mlopt.store.hashing import sha256_json
from mlopt.types.candidate import Stage
from mlopt.types.estimate import Estimate
from mlopt.types.events import Event, OnEvent
from mlopt.types.plan import Schedule
from mlopt.types.record import Record
from mlopt.types.workload import Workload
from mlopt.workers import Limits, run_task

FILE = "noise-floor.json"
POWER = 0.95
"""So that of 100 gates of a model against itself 95 pass, with a tolerance of the smallest change,
and of 100 against a copy that is slower by that change 95 fail with none."""

DURATIONS_S = (20.0, 60.0, 300.0)
LAUNCH_S = 2.0
"""About what a launch of two small models takes; rounds give way where it takes longer."""

LEAST_LAUNCHES = 4
TASK_S = 120.0


class NoiseFloor(Record):
    """A model timed against itself.

    Attributes:
        machine: Hash of what the floor depends on: processor, limits, kernel, runtime.
        measured_at: In UTC.
        p50_ms: Of the model that it was measured with.
        ratio: The paired p50 ratio of the model to itself, with its 95% interval.
        launches: How many there were.
        launch_s: Wall-clock duration of one launch of both.
        warnings: What was amiss while it was measured.
    """

    machine: str
    measured_at: str
    p50_ms: float
    ratio: Estimate
    launches: int
    launch_s: float
    warnings: tuple[str, ...] = ()

    @property
    def deviation(self) -> float:
        """The standard deviation of the logarithm of one launch's ratio.

        It is read back from the interval, which is Student's over launches or their shares, so that
        it holds all that made the interval wide.
        """
        assert self.ratio.low is not None
        assert self.ratio.high is not None
        half = math.log(self.ratio.high / self.ratio.low) / 2
        return half * math.sqrt(self.launches) / _student(self.launches - 1)

    def smallest_change(
        self, seconds: float, *, power: float = POWER, most_launches: int | None = None
    ) -> float:
        """The smallest relative change that is told from noise within a time.

        See :func:`detectable`; the number of launches is what fits into the time. It is a share,
        such as 0.02, and infinite where not even two launches fit, or those of the floor disagree
        so much that they tell nothing.

        Args:
            seconds: Wall-clock duration of the comparison.
            power: How often the change is found.
            most_launches: Where more are not made however long it may take, as by a gate.
        """
        launches = int(seconds / self.launch_s)
        if most_launches is not None:
            launches = min(launches, most_launches)
        return self._detectable(launches, power)

    def smallest_change_of_a_gate(self) -> float:
        """What all launches of a gate find, if there is time for them; see :func:`detectable`."""
        return self._detectable(LOOKS[-1], POWER)

    def _detectable(self, launches: int, power: float) -> float:
        if self.ratio.is_hardly_known:
            return math.inf
        return detectable(self.deviation, launches, power)

    def document(self) -> dict[str, Any]:
        """What ``mlopt doctor --json`` prints."""
        changes = {f"{s:.0f}": self.smallest_change(s) for s in DURATIONS_S}
        return {
            "measured_at": self.measured_at,
            "p50_ms": self.p50_ms,
            "p50_ratio": self.ratio.value,
            "p50_ratio_ci": interval(self.ratio),
            "launches": self.launches,
            "seconds_per_launch": self.launch_s,
            "deviation_per_launch": self.deviation,
            "power": POWER,
            "smallest_change": {s: _finite(c) for s, c in changes.items()},
            "smallest_change_of_a_gate": _finite(self.smallest_change_of_a_gate()),
            "warnings": list(self.warnings),
        }


def detectable(deviation: float, launches: int, power: float) -> float:
    """The smallest relative change that a two-sided 95% interval over launches finds.

    The mean of L normal log ratios of standard deviation s, tested by Student's t, finds a change
    of d = nc s / sqrt(L) with the given power, where nc is the non-centrality at which the t with
    L - 1 degrees of freedom exceeds its 97.5% point that often (Johnson & Welch, Biometrika 31
    (1940) 362-389; the "minimum detectable effect" of Bloom, Evaluation Review 19 (1995) 547-556,
    is its approximation).

    Args:
        deviation: Of the log ratio of one launch.
        launches: How many there are; below 2 nothing can be told.
        power: How often the change is found, between 0.5 and 1.

    Returns:
        A share, such as 0.02; infinite for fewer than two launches.
    """
    if launches < 2:
        return math.inf
    df = launches - 1
    non_centrality = float(special.nctdtrinc(df, 1 - power, _student(df)))
    return math.expm1(non_centrality * deviation / math.sqrt(launches))


def measure_noise_floor(seconds: float, on_event: OnEvent, *, seed: int = 0) -> NoiseFloor:
    """Times a small model against itself, interleaved, and stores what was seen for this machine.

    Args:
        seconds: Wall-clock duration of the timing; making the model comes on top.
        on_event: Called with what is going on.
        seed: For weights, inputs, and the order of the rounds.

    Raises:
        MloptError: ONNX Runtime is not installed, the model could not be timed, or two launches of
            it do not fit into the time.
    """
    with tempfile.TemporaryDirectory(prefix="mlopt-") as work:
        floor = _measure(Path(work), seconds, on_event, seed)
    _store(floor)
    return floor


def stored_noise_floor() -> NoiseFloor | None:
    """What was last measured on this machine; None when it was not, or the machine has changed."""
    try:
        floor = NoiseFloor.model_validate_json((default_cache_dir() / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return floor if floor.machine == machine_hash() else None


def machine_hash() -> str:
    """Hash of what the noise floor depends on; it tells nothing about whose machine it is."""
    processor = read_processor()
    return sha256_json(
        {
            "cpu": processor.model,
            "flags": sorted(processor.flags),
            "cpus": usable_cpus(),
            "quota": cpu_quota(),
            "libraries": library_versions(("onnxruntime", "onnxruntime-gpu")),
        }
    )


def _measure(work: Path, seconds: float, on_event: OnEvent, seed: int) -> NoiseFloor:
    on_event(Event(phase="check", message="making a small model to time against itself"))
    artifact = work / "artifact"
    artifact.mkdir()
    run_task(
        "mlopt.pipeline.tasks.sample:sample",
        {
            "onnx": str(work / "sample.onnx"),
            "workspace": str(artifact),
            "snapshot": str(work / "inputs"),
            "seed": seed,
        },
        Limits(TASK_S, None),
    )
    settings = RUNNERS["onnxruntime"]().resolve(usable_cpus()).model_dump(mode="json")
    stage = Stage(artifact=str(artifact), runner="onnxruntime", provider="cpu", settings=settings)
    side = Side("the sample", stage, (work / "sample.onnx").stat().st_size)
    began = time.monotonic()
    found = contest(side, side, _terms(work, seconds, seed), work, on_event)
    if found.launches < 2 or found.p50_ratio.low is None:
        raise WorkerError(
            f"the noise floor takes two launches at least, and {seconds:g} s were enough for "
            f"{found.launches}: allow more with --seconds."
        )
    return NoiseFloor(
        machine=machine_hash(),
        measured_at=utc_now(),
        p50_ms=found.a.measurements[0].p50_ms.value,
        ratio=found.p50_ratio,
        launches=found.launches,
        launch_s=(time.monotonic() - began) / found.launches,
        warnings=found.a.measurements[0].warnings,
    )


def _terms(work: Path, seconds: float, seed: int) -> Terms:
    """As many launches as fit: the number is planned, and no precision ends it early."""
    launches = max(LEAST_LAUNCHES, int(seconds / LAUNCH_S))
    schedule = Schedule(
        launches=launches, most_launches=launches, p50_precision=1e-9, p99_precision=1e-9
    )
    return Terms(
        snapshot=work / "inputs",
        project_dir=work,
        workload=Workload(),
        schedule=schedule,
        seed=seed,
        limits=default_limits(TASK_S),
        max_seconds=seconds,
    )


def _store(floor: NoiseFloor) -> None:
    directory = default_cache_dir()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / FILE, floor.model_dump_json(indent=2))
    except OSError:
        return  # the cache's own check says that it cannot be written to


def _finite(change: float) -> float | None:
    return change if math.isfinite(change) else None


def _student(df: int) -> float:
    return float(special.stdtrit(df, 0.975))

"""Time one model on one or several providers, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlopt.errors import ConfigError
from mlopt.pipeline.admission import admit, refuse_batch, warn_of_runner
from mlopt.pipeline.limits import default_limits
from mlopt.pipeline.load import affordable_launches
from mlopt.pipeline.reference import RUNNER_OF, Entrant, missing, named, on_provider
from mlopt.profiling.launch import Contestant, Observed, Setting
from mlopt.profiling.load import LoadSetting, measure_load
from mlopt.profiling.stopping import ByPrecision, confidence_of
from mlopt.profiling.summary import summarize
from mlopt.profiling.trial import run_trial
from mlopt.providers import resolve_provider
from mlopt.store.cache import Cache
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage
from mlopt.types.events import Event, OnEvent
from mlopt.types.measurement import Evidence, Placement
from mlopt.types.plan import Schedule
from mlopt.types.run import Failure
from mlopt.types.workload import Workload
from mlopt.workers import Limits

TASK_S = 1800.0

TRIAL_SHARE = 0.4
"""Of a time limit, what goes to the trial where the model is put under load as well."""


class Profiled(NamedTuple):
    """What was seen on one provider.

    Attributes:
        evidence: None when nothing could be timed.
        fell_back: Whether some nodes ran on another provider.
    """

    provider: str
    evidence: Evidence | None
    placement: Placement | None
    fell_back: bool
    failure: Failure | None


class LoadRequest(NamedTuple):
    """How to load a model.

    Attributes:
        callers: Of each closed loop; the one with the highest throughput serves the arrivals.
        rates: Arrivals a second, each tried once.
        p99_budget_ms: Also look for the highest rate that keeps it; None: do not.
        seconds: At one rate, all launches together, at least.
        most_seconds: The same, at most.
    """

    callers: tuple[int, ...]
    rates: tuple[float, ...]
    p99_budget_ms: float | None
    seconds: float
    most_seconds: float


class ProfileRequest(NamedTuple):
    """What to time, and how.

    Attributes:
        model: A name, as :func:`mlopt.pipeline.reference.named` takes it.
        providers: Where to run it; empty: where it is meant to run.
        batch_sizes: Empty: what the model insists on, else 1.
        data: An ``.npz`` file with an array for each input; None: synthetic inputs.
        load: How to load it beside; None: not at all.
    """

    model: str
    providers: Sequence[str]
    batch_sizes: Sequence[int]
    data: Path | None
    seed: int
    schedule: Schedule
    time_limit_s: float | None
    load: LoadRequest | None = None

    def deadline(self, start: float, share: float = 1.0) -> float | None:
        """Value of ``time.monotonic()`` when ``share`` of the time limit is over."""
        if self.time_limit_s is None:
            return None
        return start + share * max(0.0, self.time_limit_s - 1)


def profile_model(
    request: ProfileRequest, cache: Cache, work: Path, on_event: OnEvent
) -> list[Profiled]:
    """Times a model on each provider; the first one is what ratios are over.

    Args:
        request: What and how.
        cache: For candidates of runs.
        work: An empty directory.
        on_event: Called with what is going on.

    Raises:
        ConfigError: The model or the data is not there, it is a PyTorch model, or a batch size does
            not fit.
        ModelError: The model is damaged.
        UnavailableError: A provider cannot be used here.
    """
    start = time.monotonic()
    limits, snapshot = default_limits(TASK_S), work / "inputs"
    entrants = _entrants(request, cache, work, on_event)
    request = _admitted(request, entrants[0], snapshot, limits, on_event)
    contestants = [Contestant(one.provider, one.stage) for one in entrants]
    setting = Setting(
        schedule=request.schedule,
        batch_sizes=request.batch_sizes,
        snapshot=snapshot,
        project_dir=work,
        limits=limits,
        seed=request.seed,
        deadline=request.deadline(start, TRIAL_SHARE if request.load is not None else 1.0),
    )
    end = run_trial(
        contestants,
        setting,
        lambda message, done, left: on_event(
            Event(phase="time", message=message, done=done, left_s=left)
        ),
        referee=ByPrecision(
            request.schedule, request.batch_sizes[0], contestants[0].name, request.seed
        ),
    )
    first = end.observed[contestants[0].name]
    if not any(seen.samples or seen.failure for seen in end.observed.values()):
        raise ConfigError(
            f"nothing was timed within {request.time_limit_s or 0:g} s: allow more with --time-limit."
        )
    profiled = [
        _profiled(c.name, end.observed[c.name], first, request, end.stopped_because, work)
        for c in contestants
    ]
    if request.load is None:
        return profiled
    setting = setting._replace(deadline=request.deadline(start))
    return [
        _loaded(one, contestant.stage, request, setting, on_event)
        for one, contestant in zip(profiled, contestants, strict=True)
    ]


def _loaded(
    one: Profiled, stage: Stage, request: ProfileRequest, setting: Setting, on_event: OnEvent
) -> Profiled:
    """What was profiled, with its load at each batch size."""
    load = request.load
    if load is None or one.evidence is None or one.failure is not None:
        return one
    bytes_ = Artifact.open(Path(stage.artifact)).manifest.size_bytes
    found = [
        measure_load(
            LoadSetting(
                stage=stage,
                workload=Workload(batch_size=size),
                callers=load.callers,
                rates=load.rates,
                p99_budget_ms=load.p99_budget_ms,
                search=load.p99_budget_ms is not None,
                seconds=load.seconds,
                most_seconds=load.most_seconds,
                closed_seconds=load.seconds / 2,
                launches=affordable_launches(request.schedule.launches, stage.runner, bytes_),
                pool=request.schedule.pool,
                warmup=request.schedule.warmup,
                snapshot=setting.snapshot,
                project_dir=setting.project_dir,
                limits=setting.limits,
                seed=request.seed,
                run_dir=setting.project_dir,
                file_stem=f"samples/load/{one.provider}-batch-{size}",
                until=setting.deadline,
            ),
            lambda words: on_event(Event(phase="time", message=f"{one.provider}: {words}")),
        )
        for size in request.batch_sizes
    ]
    return one._replace(evidence=one.evidence.model_copy(update={"load": tuple(found)}))


def _profiled(
    name: str, seen: Observed, first: Observed, request: ProfileRequest, why: str, work: Path
) -> Profiled:
    evidence = None
    if seen.samples:
        evidence = summarize(
            seen,
            first,
            tuple(Workload(batch_size=size) for size in request.batch_sizes),
            trial="profile",
            stopped_because=why,
            run_dir=work,
            file_stem=name,
            seed=request.seed,
            confidence=confidence_of(request.schedule),
        )
    share = (
        1.0 if seen.placement is None else seen.placement.share_on(resolve_provider(name).ort_name)
    )
    return Profiled(name, evidence, seen.placement, share < 1.0, seen.failure)


def _entrants(
    request: ProfileRequest, cache: Cache, work: Path, on_event: OnEvent
) -> list[Entrant]:
    """The model on each provider; with the settings that it ships with where that is its own."""
    found = named(request.model, Path.cwd(), cache, work / "model")
    if found is None:
        raise missing(request.model)
    if found.entrant.runner == RUNNER_OF["torch"]:
        raise ConfigError(
            f"'{request.model}' is a PyTorch model, and only ONNX models are profiled. Name a "
            "candidate that is exported: the recipe fp32 makes one."
        )
    if request.providers and found.provider is not None:
        raise ConfigError(
            f"'{request.model}' says where it runs, and so does --provider. Leave one of them out."
        )
    asked = dict.fromkeys(resolve_provider(name).label for name in request.providers)
    entrants = [on_provider(found.entrant, name) for name in asked or (found.provider,)]
    for entrant in entrants:
        warn_of_runner(entrant, on_event)
    return entrants


def _admitted(
    request: ProfileRequest, entrant: Entrant, snapshot: Path, limits: Limits, on_event: OnEvent
) -> ProfileRequest:
    """Seals the model and writes the inputs; returns the request with batch sizes that it takes."""
    (fixed,) = admit(
        [entrant],
        snapshot=snapshot,
        data=request.data,
        seed=request.seed,
        limits=limits,
        on_event=on_event,
    )
    sizes = request.batch_sizes or (fixed or 1,)
    for size in sizes:
        refuse_batch(entrant, fixed, size, "--batch-size")
    return request._replace(batch_sizes=sizes)

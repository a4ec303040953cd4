"""Time one model on several providers, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mlopt.errors import ConfigError, ModelError
from mlopt.machine import usable_cpus
from mlopt.pipeline.limits import default_limits
from mlopt.pipeline.load import affordable_launches
from mlopt.profiling.launch import Contestant, Observed, Setting
from mlopt.profiling.load import LoadSetting, measure_load
from mlopt.profiling.stopping import ByPrecision, confidence_of
from mlopt.profiling.summary import summarize
from mlopt.profiling.trial import run_trial
from mlopt.providers import resolve_provider
from mlopt.runners import RUNNERS
from mlopt.types.artifact import MANIFEST, Artifact
from mlopt.types.candidate import Stage
from mlopt.types.events import Event, OnEvent
from mlopt.types.measurement import Evidence, Placement
from mlopt.types.plan import Schedule
from mlopt.types.run import Failure
from mlopt.types.workload import Workload
from mlopt.workers import Limits, run_task

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
        data: An ``.npz`` file with an array for each input; None: synthetic inputs.
        load: How to load it beside; None: not at all.
    """

    model: Path
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


def profile_model(request: ProfileRequest, work: Path, on_event: OnEvent) -> list[Profiled]:
    """Times a model on each provider; the first one is what ratios are over.

    Args:
        request: What and how.
        work: An empty directory.
        on_event: Called with what is going on.

    Raises:
        ConfigError: The model or the data is not there, or a batch size does not fit.
        ModelError: The model is damaged.
        UnavailableError: A provider cannot be used here.
    """
    start = time.monotonic()
    providers = [resolve_provider(name) for name in request.providers]
    for provider in providers:
        provider.require()
    directory = _adopt(request, work, on_event)
    settings = RUNNERS["onnxruntime"]().resolve(usable_cpus()).model_dump(mode="json")
    contestants = [
        Contestant(
            p.label,
            Stage(
                artifact=str(directory),
                runner="onnxruntime",
                provider=p.label,
                settings={**settings, **p.session},
            ),
        )
        for p in providers
    ]
    setting = Setting(
        schedule=request.schedule,
        batch_sizes=request.batch_sizes,
        snapshot=work / "inputs",
        project_dir=work,
        limits=default_limits(TASK_S),
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


def _adopt(request: ProfileRequest, work: Path, on_event: OnEvent) -> Path:
    """The directory of an artifact made from whatever ``request.model`` is; inputs stand beside it."""
    onnx = _onnx_file(request.model)
    if request.data is not None and not request.data.is_file():
        raise ConfigError(f"there is no file '{request.data}'. Check the path given to --data.")
    directory = work / "artifact"
    directory.mkdir()
    answer = run_task(
        "mlopt.pipeline.tasks.adopt:adopt",
        {
            "onnx": str(onnx.resolve()),
            "workspace": str(directory),
            "snapshot": str(work / "inputs"),
            "data": None if request.data is None else str(request.data.resolve()),
            "seed": request.seed,
        },
        Limits(TASK_S, None),
        lambda message, done: on_event(Event(phase="check", message=message, done=done)),
    )
    fixed = answer["fixed_batch"]
    if fixed is not None and set(request.batch_sizes) != {fixed}:
        raise ConfigError(
            f"'{request.model}' takes batches of exactly {fixed}: give --batch-size {fixed}."
        )
    return directory


def _onnx_file(model: Path) -> Path:
    if model.is_dir():
        for directory in (model, model / "model"):
            if (directory / MANIFEST).is_file():
                artifact = Artifact.open(directory)
                if artifact.manifest.format != "onnx":
                    raise ModelError(
                        f"'{model}' is a {artifact.manifest.format} artifact; give an ONNX one."
                    )
                return artifact.main_file
        raise ConfigError(
            f"'{model}' holds no artifact. Give an .onnx file, or the directory of a run."
        )
    if not model.is_file():
        raise ConfigError(f"there is no file '{model}'. Check the path.")
    return model

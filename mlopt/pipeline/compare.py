"""Two artifacts against each other: their latency, and with a project their answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mlopt.errors import ModelError
from mlopt.pipeline.accuracy import Exam, answer, compare_answers
from mlopt.pipeline.admission import admit, refuse_batch, setting_warnings, teller
from mlopt.pipeline.contest import Contest, Side, Terms, contest
from mlopt.pipeline.limits import default_limits
from mlopt.pipeline.prepared import prepare
from mlopt.pipeline.reference import RUNNER_OF, Entrant, locate, missing
from mlopt.project import LoadedProject
from mlopt.store.cache import Cache
from mlopt.types.events import OnEvent
from mlopt.types.measurement import Quality
from mlopt.types.plan import Schedule
from mlopt.types.workload import Workload
from mlopt.workers import Limits

TASK_S = 1800.0
LEAST_TIMING_S = 10.0
"""What timing gets even where making ready took all the time; half of what was allowed, if that is less."""


class CompareRequest(NamedTuple):
    """What to compare, and how.

    Attributes:
        a: What ratios and deltas are over, as the user named it.
        b: The other one.
        provider: Where both run, unless their names say so; None: where each is meant to.
        data: An ``.npz`` file with inputs; None: the project's holdout, or synthetic ones.
        loaded: A project whose holdout both answer; None: only latency is compared.
        max_seconds: Wall-clock limit of the timing.
    """

    a: str
    b: str
    provider: str | None
    data: Path | None
    loaded: LoadedProject | None
    batch_size: int
    max_seconds: float
    schedule: Schedule
    seed: int


class Compared(NamedTuple):
    """What was seen.

    Attributes:
        sizes: Bytes of all files of A and of B.
        quality: Answers of B against those of A, on the holdout; None without a project.
        warnings: What a reader should know before trusting the numbers.
    """

    a: Entrant
    b: Entrant
    sizes: tuple[int, int]
    contest: Contest
    quality: Quality | None
    warnings: tuple[str, ...]


def compare_artifacts(
    request: CompareRequest, cache: Cache, work: Path, on_event: OnEvent
) -> Compared:
    """Times A and B side by side.

    Args:
        request: What and how.
        cache: For candidates of runs, and for what is made of the project.
        work: An empty directory.
        on_event: Called with what is going on.

    Raises:
        MloptError: One of them cannot be found or run, or they do not take the same inputs.
    """
    start = time.monotonic()
    limits = default_limits(TASK_S)
    pair = (
        _find(request.a, request, cache, work / "a"),
        _find(request.b, request, cache, work / "b"),
    )
    snapshot, quality = work / "inputs", None
    if request.loaded is None:
        _admit(request, pair, snapshot, limits, on_event)
    else:
        prepared = prepare(request.loaded, cache, request.seed, limits, teller(on_event, "check"))
        snapshot = prepared.snapshots["holdout"]
        _admit(request, pair, snapshot, limits, on_event)
        exam = Exam(prepared, "holdout", limits, request.seed, work, on_event)
        answers = {role: answer(exam, one, role) for role, one in zip("AB", pair, strict=True)}
        quality = compare_answers(exam, answers, over="A")["B"]
    terms = Terms(
        snapshot=snapshot,
        project_dir=Path.cwd() if request.loaded is None else request.loaded.directory,
        workload=Workload(batch_size=request.batch_size),
        schedule=request.schedule,
        seed=request.seed,
        limits=limits,
        max_seconds=timing_seconds(request.max_seconds, time.monotonic() - start),
    )
    a, b = (side_of(one) for one in pair)
    with _hinting(request, pair):
        seen = contest(a, b, terms, work, on_event)
    sizes = (a.size_bytes, b.size_bytes)
    return Compared(*pair, sizes, seen, quality, (*setting_warnings(*pair), *seen.warnings))


def timing_seconds(max_seconds: float, spent: float) -> float:
    """Seconds for timing: what is left, but enough for a few launches where little is.

    Args:
        max_seconds: That the user allows for it all.
        spent: What making ready took.
    """
    return max(max_seconds - spent, min(LEAST_TIMING_S, max_seconds / 2))


def _admit(
    request: CompareRequest,
    pair: tuple[Entrant, Entrant],
    snapshot: Path,
    limits: Limits,
    on_event: OnEvent,
) -> None:
    fixed = admit(
        pair,
        snapshot=snapshot,
        data=request.data,
        seed=request.seed,
        limits=limits,
        on_event=on_event,
    )
    for one, size in zip(pair, fixed, strict=True):
        refuse_batch(one, size, request.batch_size, "--batch-size")


@contextmanager
def _hinting(request: CompareRequest, pair: tuple[Entrant, Entrant]) -> Iterator[None]:
    """Says what a PyTorch model that cannot be loaded may lack."""
    try:
        yield
    except ModelError as e:
        if request.loaded is None and any(one.runner == RUNNER_OF["torch"] for one in pair):
            raise ModelError(
                f"{e} A PyTorch model may need the code of its project: give --project."
            ) from e
        raise


def side_of(entrant: Entrant) -> Side:
    """An entrant as a contest takes it."""
    return Side(entrant.name, entrant.stage, entrant.artifact.manifest.size_bytes)


def _find(text: str, request: CompareRequest, cache: Cache, workspace: Path) -> Entrant:
    found = locate(text, Path.cwd(), cache, workspace, request.provider)
    if found is None:
        raise missing(text)
    return found

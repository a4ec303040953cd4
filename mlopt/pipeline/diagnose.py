"""Explain one model: find it, make it ready, and run it in a worker."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from mlopt.errors import ConfigError, ModelError, WorkerError
from mlopt.pipeline.admission import admit, refuse_batch, teller, warn_of_runner
from mlopt.pipeline.limits import default_limits
from mlopt.pipeline.reference import RUNNER_OF, locate, missing
from mlopt.store.cache import Cache
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage
from mlopt.types.diagnosis import Diagnosis
from mlopt.types.events import OnEvent
from mlopt.types.run import CandidateResult
from mlopt.workers import Limits, run_task

TASK_S = 1800.0
DIAGNOSE = "mlopt.pipeline.tasks.diagnose:diagnose_stage"


class DiagnoseRequest(NamedTuple):
    """What to explain, and on what.

    Attributes:
        model: As the user named it.
        provider: Where it runs; None: where it is meant to.
        data: An ``.npz`` file with an array for each input; None: synthetic inputs.
        batch_size: Examples in one inference; None: as many as the model insists on, else 1.
    """

    model: str
    provider: str | None
    data: Path | None
    batch_size: int | None
    seed: int


class Examples(NamedTuple):
    """What a model is run on.

    Attributes:
        snapshot: Directory of the examples.
        synthetic: Whether they were made up.
    """

    snapshot: Path
    batch_size: int
    synthetic: bool


def diagnose_model(
    request: DiagnoseRequest, cache: Cache, work: Path, on_event: OnEvent
) -> Diagnosis:
    """Explains whatever ``request.model`` names.

    Args:
        request: What, and on what.
        cache: For candidates of runs.
        work: An empty directory.
        on_event: Called with what is going on.

    Raises:
        ConfigError: There is no such model or data, or it is a PyTorch model.
        ModelError: It is damaged, or cannot be run on this provider.
        UnavailableError: The provider cannot be used here.
    """
    found = locate(request.model, Path.cwd(), cache, work / "model", request.provider)
    if found is None:
        raise missing(request.model)
    if found.runner == RUNNER_OF["torch"]:
        raise ConfigError(
            f"'{request.model}' is a PyTorch model, and only ONNX models are diagnosed. Name a "
            "candidate that is exported: the recipe fp32 makes one."
        )
    warn_of_runner(found, on_event)
    limits = default_limits(TASK_S)
    snapshot = work / "inputs"
    (fixed,) = admit(
        [found],
        snapshot=snapshot,
        data=request.data,
        seed=request.seed,
        limits=limits,
        on_event=on_event,
    )
    batch_size = request.batch_size or fixed or 1
    refuse_batch(found, fixed, batch_size, "--batch-size")
    examples = Examples(snapshot, batch_size, synthetic=request.data is None)
    try:
        return diagnose_stage(found.stage, examples, limits, on_event)
    except WorkerError as e:
        raise ModelError(f"the process that ran '{request.model}' failed: {e}") from e


def diagnose_candidate(
    result: CandidateResult,
    artifact: Artifact,
    examples: Examples,
    limits: Limits,
    on_event: OnEvent,
) -> Diagnosis | None:
    """Explains a candidate of a run.

    Args:
        result: The candidate, with the settings that it was measured with.
        artifact: What was built.
        examples: What it is run on.
        limits: Of the worker.
        on_event: Called with what is going on.

    Returns:
        None where it is not an ONNX model.

    Raises:
        ModelError: It cannot be loaded or run here.
        WorkerError: The worker died, hung, or used too much.
    """
    plan = result.plan
    if plan.runner == RUNNER_OF["torch"]:
        return None
    stage = Stage(
        artifact=str(artifact.directory),
        runner=plan.runner,
        provider=plan.provider,
        settings=dict(result.settings),
    )
    return diagnose_stage(stage, examples, limits, on_event)


def diagnose_stage(
    stage: Stage, examples: Examples, limits: Limits, on_event: OnEvent
) -> Diagnosis:
    """Explains an artifact with the settings and the provider that it ships with, in a worker.

    Args:
        stage: An ONNX artifact and what executes it.
        examples: What it is run on.
        limits: Of the worker.
        on_event: Called with what is going on.

    Raises:
        ModelError: It cannot be loaded or run here.
        WorkerError: The worker died, hung, or used too much.
    """
    with tempfile.TemporaryDirectory(prefix="mlopt-") as scratch:
        arguments = {
            "stage": stage.model_dump(mode="json"),
            "snapshot": str(examples.snapshot),
            "batch_size": examples.batch_size,
            "synthetic": examples.synthetic,
            "scratch": scratch,
        }
        answer = run_task(DIAGNOSE, arguments, limits, teller(on_event, "time"), fresh=True)
    return Diagnosis.model_validate(answer)

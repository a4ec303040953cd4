"""Everybody in a gate: found on disk and admitted, or built by the project's own recipes."""

from __future__ import annotations

from mlopt.errors import BuildError, ModelError, WorkerError
from mlopt.pipeline.admission import admit, refuse_batch, teller
from mlopt.pipeline.builder import Builder
from mlopt.pipeline.gate_entrants import planned_baseline, planned_candidate
from mlopt.pipeline.gate_request import (
    BASELINE,
    REFERENCE,
    SHIP,
    SPLIT,
    GateRequest,
    Hall,
    ShipError,
)
from mlopt.pipeline.gate_timing import budgeted_workloads
from mlopt.pipeline.prepared import Prepared, prepare
from mlopt.pipeline.reference import Entrant, locate, planned_entrant
from mlopt.types.candidate import PlannedCandidate


def enter(request: GateRequest, hall: Hall) -> tuple[dict[str, Entrant], Prepared]:
    """Everybody by role, ready to run: found on disk, or built as ``optimize`` would.

    Args:
        request: Names them.
        hall: Where.

    Raises:
        ShipError: The file that ships is damaged, or does not take the project's inputs.
        MloptError: Something else cannot be found, built or read.
    """
    names = {SHIP: request.ship}
    if request.reference is not None:
        names[REFERENCE] = request.reference
    planned: dict[str, PlannedCandidate] = {BASELINE: planned_baseline(request.loaded)}
    entrants: dict[str, Entrant] = {}
    for role, named in names.items():
        found = locate(named.text, named.base, hall.cache, hall.work / role)
        if found is None:
            planned[role] = planned_candidate(request.loaded, named.text)
        else:
            entrants[role] = found
    check = teller(hall.on_event, "check")
    prepared = prepare(request.loaded, hall.cache, request.seed, hall.limits, check)
    _admit_all(request, entrants, prepared, hall)
    for role, one in planned.items():
        entrants[role] = _build(request, one, prepared, hall)
    return entrants, prepared


def _admit_all(
    request: GateRequest, found: dict[str, Entrant], prepared: Prepared, hall: Hall
) -> None:
    """The reference first: what is wrong after that is wrong with what ships."""
    admitted: list[Entrant] = []
    if REFERENCE in found:
        _admit(request, [found[REFERENCE]], prepared, hall)
        admitted.append(found[REFERENCE]._replace(onnx=None))
    if SHIP in found:
        try:
            _admit(request, [found[SHIP], *admitted], prepared, hall)
        except ModelError as e:
            raise ShipError(str(e)) from e


def _admit(request: GateRequest, several: list[Entrant], prepared: Prepared, hall: Hall) -> None:
    fixed = admit(
        several,
        snapshot=prepared.snapshots[SPLIT],
        data=None,
        seed=request.seed,
        limits=hall.limits,
        on_event=hall.on_event,
    )
    project = request.loaded.project
    for one, size in zip(several, fixed, strict=True):
        for workload in budgeted_workloads(project.workloads, project.budget):
            refuse_batch(one, size, workload.batch_size, "batch_sizes in mlopt.yaml")


def _build(
    request: GateRequest, planned: PlannedCandidate, prepared: Prepared, hall: Hall
) -> Entrant:
    tell = teller(hall.on_event, "build", f"{planned.name}: ")
    try:
        builder = Builder(prepared, hall.cache, request.seed)
        built = builder.build(planned.steps, lambda: hall.limits, tell)
    except (BuildError, WorkerError) as e:
        raise ModelError(f"'{planned.name}' could not be built: {e}") from e
    return planned_entrant(planned.name, planned, built.artifact)

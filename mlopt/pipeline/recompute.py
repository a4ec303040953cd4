"""Every number of a stored run again, from its raw samples, by the functions that made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mlopt.decision import SELECTION_RULE, choose
from mlopt.decision.dominance import dominates, reason_to_leave, standing_of
from mlopt.decision.slices import lost_beyond_margin
from mlopt.errors import MloptError
from mlopt.pipeline.integrity import UNREADABLE
from mlopt.pipeline.ledger import Ledger, Place
from mlopt.pipeline.planning import warnings_of
from mlopt.pipeline.quality import fallback_warning, slice_warning
from mlopt.pipeline.ratios import p50_ratio_between
from mlopt.pipeline.verdict import confirmed, none_may_ship, without_baseline
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import confidence_of
from mlopt.profiling.summary import cold_start_ms, measurement_of, peak_rss_bytes
from mlopt.store.arrays import read_arrays
from mlopt.types.decision import Decision
from mlopt.types.measurement import Evidence, Measurement
from mlopt.types.run import CandidateResult, EvidenceKind, Run
from mlopt.types.tensors import ArrayRef

PHASES: dict[EvidenceKind, str] = {
    "selection": "selection",
    "run_off": "selection",
    "confirmation": "holdout",
}
"""The split that each kind of evidence is made on."""

NOT_ITS_SAMPLES = "its samples are not those that the run was made of"
WHEN = "recorded while the run was made: times and what the machine was like cannot be recomputed"
NO_REASON = (
    "the name of a rival of the same trial that may ship and is certainly faster in the samples"
)
ANOTHER_RULE = "it was decided by another selection rule than this version's: plan.json has it"
ONCE = "recorded while the run was made: it stands nowhere else"
_NOT_KEPT = (
    "the artifact is not stored with the run: only that of the chosen candidate is, in model/"
)

Tell = Callable[[str, float], None]


class Evidenced(NamedTuple):
    """A stored run and what of its files may be taken for evidence.

    Attributes:
        broken: Arrays (paths) that are missing or are not those that the run names.
    """

    run: Run
    run_dir: Path
    broken: frozenset[str]

    def usable(self, reference: ArrayRef | None) -> bool:
        """Whether an array is there, and the one that the run names."""
        return reference is not None and reference.path not in self.broken


def recompute_timings(ledger: Ledger, given: Evidenced, tell: Tell) -> None:
    """Every measurement, cold start and peak memory, of every kind."""
    work = [
        (i, phase, evidence)
        for i, result in enumerate(given.run.candidates)
        for phase in PHASES
        if (evidence := getattr(result, phase)) is not None
    ]
    for number, (i, phase, evidence) in enumerate(work):
        tell(f"{given.run.candidates[i].name}: {phase}", number / len(work))
        place: Place = ("candidates", i, phase)
        _left_because(ledger, (*place, "left_because"), given, given.run.candidates[i], phase)
        ledger.give_up((*place, "vitals"), WHEN)
        launches = _launches(ledger, place, given, evidence)
        for j, measurement in enumerate(evidence.measurements):
            base = _baseline_samples(given, phase, measurement)
            _measurement(
                ledger, (*place, "measurements", j), given, measurement, base, launches, evidence
            )


def _left_because(
    ledger: Ledger, place: Place, given: Evidenced, result: CandidateResult, phase: str
) -> None:
    """Whether the rival that made a candidate leave the selection is what the reason says."""
    evidence: Evidence = getattr(result, phase)
    reason, plan = evidence.left_because, given.run.plan
    if reason is None:
        ledger.give_up(place, ONCE)
        return
    if plan.selection_rule != SELECTION_RULE:
        ledger.give_up(place, ANOTHER_RULE)
        return
    rival = next((c for c in given.run.candidates if reason_to_leave(c.name) == reason), None)
    qualities = [c and c.selection and c.selection.quality for c in (rival, result)]
    if phase != "selection" or rival is None or not qualities[0] or not qualities[1]:
        ledger.contradict(place, reason, NO_REASON)
        return
    fast, slow = {}, {}
    for one in evidence.measurements:
        found = _samples_beside(given, rival, one)
        own = _read(given.run_dir, one.samples) if given.usable(one.samples) else NOT_ITS_SAMPLES
        if isinstance(found, str) or isinstance(own, str):
            ledger.give_up(place, NOT_ITS_SAMPLES)
            return
        slow[one.workload.batch_size] = own
        if found is not None:
            fast[one.workload.batch_size] = found
    standings = (
        standing_of(rival, qualities[0], plan),
        standing_of(result, qualities[1], plan),
    )
    if slow and dominates(*standings, fast, slow, plan.budget):
        ledger.expect(place, reason)
    else:
        ledger.contradict(place, reason, NO_REASON)


def _samples_beside(
    given: Evidenced, rival: CandidateResult, measurement: Measurement
) -> Samples | str | None:
    """A rival's samples of the selection, from the same trial and workload as a measurement."""
    if rival.plan.role == "baseline":
        return _baseline_samples(given, "selection", measurement)
    for one in rival.selection.measurements if rival.selection is not None else ():
        if (one.workload, one.trial) == (measurement.workload, measurement.trial):
            return (
                _read(given.run_dir, one.samples) if given.usable(one.samples) else NOT_ITS_SAMPLES
            )
    return None


def _launches(ledger: Ledger, place: Place, given: Evidenced, evidence: Evidence) -> Any:
    """Cold starts, peak RSS and switches of the launches, shape (L, 4); None: not stored."""
    if not evidence.measurements:  # it was scored, and not timed
        for field in ("cold_start_ms", "peak_rss_bytes", "launches"):
            ledger.expect((*place, field), None)
        return None
    if evidence.launches is None:
        reason = "the run was written by an older mlopt, which did not store each launch"
        launches = None
    elif not given.usable(evidence.launches):
        reason, launches = NOT_ITS_SAMPLES, None
    else:
        return _stored_launches(ledger, place, given.run_dir, evidence.launches)
    for field in ("cold_start_ms", "peak_rss_bytes", "launches"):
        ledger.give_up((*place, field), reason)
    return launches


def _stored_launches(ledger: Ledger, place: Place, run_dir: Path, reference: ArrayRef) -> Any:
    try:
        launches = read_arrays(run_dir, reference)["launches"]
        found = {
            "cold_start_ms": cold_start_ms(launches),
            "peak_rss_bytes": peak_rss_bytes(launches),
        }
    except UNREADABLE as e:
        ledger.contradict((*place, "launches"), f"{reference.path}: {e}", "what each launch cost")
        return None
    _check_reference(ledger, (*place, "launches"))
    for field, estimate in found.items():
        ledger.expect((*place, field), _json(estimate))
    return launches


def _measurement(
    ledger: Ledger,
    place: Place,
    given: Evidenced,
    measurement: Measurement,
    base: Samples | str | None,
    launches: Any,
    evidence: Evidence,
) -> None:
    if not given.usable(measurement.samples) or isinstance(base, str):
        reason = base if isinstance(base, str) else NOT_ITS_SAMPLES
        ledger.give_up(place, reason)
        return
    try:
        again = measurement_of(
            Samples.read(given.run_dir, measurement.samples),
            base,
            measurement.workload,
            trial=Path(measurement.samples.path).parent.name,
            reference=measurement.samples,
            stopped_because=measurement.stopped_because,
            seed=given.run.plan.seed,
            vitals=evidence.vitals,
            launches=launches,
            confidence=confidence_of(given.run.plan.schedule),
        )
    except UNREADABLE as e:
        says = f"{measurement.samples.path}: {e}"
        ledger.contradict((*place, "samples"), says, "samples that can be summarized")
        ledger.give_up(place, NOT_ITS_SAMPLES)
        return
    _check_reference(ledger, (*place, "samples"))
    document = again.model_dump(mode="json", exclude={"samples", "stopped_because"})
    ledger.give_up((*place, "stopped_because"), ONCE)
    for field, value in document.items():
        ledger.expect((*place, field), value)
    number = place[-1]
    assert isinstance(number, int)
    workloads = given.run.plan.workloads
    if number < len(workloads):
        ledger.expect((*place, "workload"), workloads[number].model_dump(mode="json"))


def _baseline_samples(
    given: Evidenced, phase: str, measurement: Measurement
) -> Samples | str | None:
    """The baseline's samples of the same trial and workload; a text says why they cannot be had.

    A further heat times the baseline again. The run refers to the first time only; the files of
    the others have the same name, in the folder of their trial.
    """
    evidence: Evidence | None = getattr(given.run.baseline, phase)
    for one in evidence.measurements if evidence is not None else ():
        if one.workload != measurement.workload:
            continue
        if Path(one.samples.path).parent == Path(measurement.samples.path).parent:
            if not given.usable(one.samples):
                return "the baseline's samples are not those that the run was made of"
            return _read(given.run_dir, one.samples)
        path = Path(measurement.samples.path).with_name(Path(one.samples.path).name).as_posix()
        if (given.run_dir / path).is_file():
            return _read(given.run_dir, one.samples.model_copy(update={"path": path}))
        return f"the baseline's samples of its trial are missing: {path}"
    return None


def _read(run_dir: Path, reference: ArrayRef) -> Samples | str:
    try:
        return Samples.read(run_dir, reference)
    except UNREADABLE as e:
        return f"the baseline's samples cannot be read: {e}"


def _check_reference(ledger: Ledger, place: Place) -> None:
    """The file itself was compared with what stands here, when the files were checked."""
    ledger.expect(place, ledger.at(place))


def recompute_decision(ledger: Ledger, given: Evidenced) -> None:
    """Judges and chooses again, on the numbers as they should be."""
    stored = given.run.decision
    if stored is None and given.run.status != "complete":
        return
    if given.broken:
        ledger.give_up(("decision",), "samples that it stands on are not those of the run")
        return
    run = Run.model_validate(ledger.document)
    if run.plan.selection_rule != SELECTION_RULE:
        ledger.give_up(("decision",), ANOTHER_RULE)
        return
    try:
        decision = decide_again(run, given.run_dir)
    except (MloptError, *UNREADABLE) as e:
        ledger.give_up(("decision",), f"it cannot be judged again: {e}")
        return
    ledger.expect(("decision",), decision.model_dump(mode="json"))


def decide_again(run: Run, run_dir: Path) -> Decision:
    """The decision that follows from a run's evidence.

    The choice was made before the confirmation: whoever fell out in that had not failed yet.
    """
    chosen = run.decision.chosen if run.decision is not None else None
    late = {run.baseline.name, chosen} if chosen is not None else set()
    before = tuple(
        c.model_copy(update={"failure": None}) if c.name in late and c.selection else c
        for c in run.candidates
    )
    baseline = next(c for c in before if c.plan.role == "baseline")
    if not baseline.is_timed or baseline.failure is not None:
        return without_baseline(run)
    plan = run.plan
    choice = choose(before, plan.budget, plan.allow_fallback, p50_ratio_between(run, run_dir))
    if choice.chosen is None:
        return none_may_ship(run, choice)
    return confirmed(run, choice)


def expected_warnings(run: Run) -> tuple[str, ...]:
    """The warnings of a run that follow from its plan, its placements and its slices."""
    fell = [
        fallback_warning(c.plan, c.placement) for c in run.candidates if c.fell_back and c.placement
    ]
    confirmed_qualities = [
        (c.name, c.confirmation.quality)
        for c in run.candidates
        if c.confirmation is not None and c.confirmation.quality is not None
    ]
    slices = [
        slice_warning(name, part, quality)
        for name, quality in confirmed_qualities
        for part in lost_beyond_margin(run.plan.margins, quality)
    ]
    return tuple(dict.fromkeys((*run.plan.notes, *warnings_of(run.plan), *fell, *slices)))


def recompute_warnings(ledger: Ledger) -> None:
    """Whether a run still holds all the warnings that it must; there may be more of them."""
    run = Run.model_validate(ledger.document)
    due = expected_warnings(run)
    missing = [warning for warning in due if warning not in run.warnings]
    more = [warning for warning in run.warnings if warning not in due]
    ledger.expect(("warnings",), [*due, *more] if missing else list(run.warnings))
    for warning in more:
        ledger.give_up(("warnings", run.warnings.index(warning)), ONCE)


def _json(record: Any) -> Any:
    return None if record is None else record.model_dump(mode="json")

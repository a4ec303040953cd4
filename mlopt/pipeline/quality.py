"""Let candidates answer a split, and compare their answers with the baseline's."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlopt.decision.slices import POINTS, lost_beyond_margin
from mlopt.errors import MloptError
from mlopt.evaluation.comparison import MetricRequest
from mlopt.pipeline.deadline import Deadline
from mlopt.pipeline.limits import at_a_time
from mlopt.pipeline.prepared import Prepared
from mlopt.pipeline.recorder import Recorder
from mlopt.store.arrays import write_array
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import PlannedCandidate, Stage
from mlopt.types.events import Phase
from mlopt.types.measurement import MetricResult, Placement, Quality, SliceResult
from mlopt.types.plan import Plan
from mlopt.types.privacy import without_paths
from mlopt.types.run import Failure
from mlopt.types.tensors import ArrayRef
from mlopt.workers import Limits, OnEvent, run_task, side_by_side
from mlopt.workers.process import WorkerFailure

COMPARE = "mlopt.evaluation.comparison:compare"


def stage_of(candidate: PlannedCandidate, artifact: Artifact) -> Stage:
    """What executes a candidate."""
    return Stage(
        artifact=str(artifact.directory),
        runner=candidate.runner,
        provider=candidate.provider,
        settings=candidate.settings,
    )


class Scorer:
    """Scores candidates on one split, in the order of the plan."""

    def __init__(
        self,
        prepared: Prepared,
        recorder: Recorder,
        limits: Limits,
        deadline: Deadline,
        work: Path,
    ) -> None:
        """Prepares to score.

        Args:
            prepared: Model and data.
            recorder: Of the run.
            limits: Of one worker.
            deadline: Of the run.
            work: Directory for the outputs.
        """
        self._prepared = prepared
        self._recorder = recorder
        self._limits = limits
        self._deadline = deadline
        self._work = work

    def score(self, artifacts: dict[str, Artifact], split: str, phase: Phase) -> dict[str, Quality]:
        """Scores every candidate in ``artifacts``; one that fails is noted and left out.

        Args:
            artifacts: By the name of the candidate.
            split: Name of the split.
            phase: For progress.

        Returns:
            By the name of the candidate; empty when the baseline could not be scored.
        """
        targets = {n: self._work / f"{split}-{i}.npy" for i, n in enumerate(artifacts)}
        tasks = [partial(self._ask, n, artifacts[n], split, targets[n]) for n in artifacts]
        progress = self._recorder.teller(phase, None, 0.0, 1.0)
        width = at_a_time(self._prepared.source.manifest.size_bytes)
        outputs: dict[str, str] = {}
        with closing(side_by_side(tasks, progress, width)) as answers:
            for name, answer in zip(artifacts, answers, strict=True):
                if self._note_answer(name, answer):
                    outputs[name] = str(targets[name])
        baseline = self._recorder.run.baseline.name
        if baseline not in outputs:
            return {}
        compared = self._compare(outputs, baseline, split)
        if baseline not in compared:
            return {}
        kept, members = self._store(outputs, split), self._store_members(split)
        found = {
            name: quality_of(split, kept.get(name), answer, members)
            for name, answer in compared.items()
        }
        if phase == "confirm":
            self._warn_of_slices(found)
        return found

    def _warn_of_slices(self, found: dict[str, Quality]) -> None:
        plan = self._recorder.run.plan
        for name, quality in found.items():
            for part in lost_beyond_margin(plan.margins, quality):
                self._recorder.warn("confirm", slice_warning(name, part, quality))

    def _ask(
        self, name: str, artifact: Artifact, split: str, target: Path, on_event: OnEvent
    ) -> dict[str, Any] | None:
        """In a thread of its own: scores a candidate; None where the time for it is over, or ended it."""
        if self._deadline.passed(self._deadline.moment):
            return None
        run = self._recorder.run
        on_event(f"{name}: scoring {split}", None)
        try:
            answer: dict[str, Any] = run_task(
                "mlopt.evaluation.scoring:score",
                {
                    "stage": stage_of(run.candidate(name).plan, artifact).model_dump(mode="json"),
                    "project_dir": str(self._prepared.project.directory),
                    "snapshot": str(self._prepared.snapshots[split]),
                    "target": str(target),
                    "fixed_batch": self._prepared.fixed_batch,
                    "task": run.plan.task,
                },
                self._deadline.limits(self._limits, self._deadline.moment),
                lambda message, done: on_event(f"{name}: {message}", done),
            )
        except MloptError:
            if self._deadline.passed(self._deadline.moment):
                return None
            raise
        return answer

    def _note_answer(self, name: str, answer: dict[str, Any] | MloptError | None) -> bool:
        """Notes how a candidate was scored; False where it was not."""
        if answer is None:
            self._expired()
            return False
        if isinstance(answer, MloptError):
            self._recorder.fail(name, failure_of("score", answer))
            return False
        if answer["nodes"] is not None:
            candidate = self._recorder.run.candidate(name).plan
            self._note_placement(candidate, Placement(nodes=answer["nodes"]))
        return True

    def _expired(self) -> bool:
        """Whether the run's time limit is reached: what fails then has not failed by itself."""
        if not self._deadline.passed(self._deadline.moment):
            return False
        self._recorder.cut_short("the time limit came before every candidate was measured")
        return True

    def _note_placement(self, candidate: PlannedCandidate, placement: Placement) -> None:
        from mlopt.providers import resolve_provider

        provider = resolve_provider(candidate.provider).ort_name
        fell_back = placement.share_on(provider) < 1.0
        self._recorder.update(candidate.name, placement=placement, fell_back=fell_back)
        if fell_back:
            self._recorder.warn("score", fallback_warning(candidate, placement))

    def _compare(
        self, outputs: dict[str, str], baseline: str, split: str
    ) -> dict[str, dict[str, Any]]:
        self._recorder.tell("compare", f"comparing answers on {split}", 0.0)
        arguments = comparison_arguments(
            self._recorder.run.plan,
            split,
            outputs,
            baseline,
            self._prepared.snapshots[split],
            self._prepared.project.directory,
            self._members(split),
        )
        limits = self._deadline.limits(self._limits, self._deadline.moment)
        progress = self._recorder.teller("compare", split, 0.0, 1.0)
        try:
            found: dict[str, dict[str, Any]] = run_task(COMPARE, arguments, limits, progress)
        except MloptError as e:
            if not self._expired():
                for name in outputs:
                    self._recorder.fail(name, failure_of("score", e))
            return {}
        for name in [n for n, one in found.items() if "error" in one]:
            failure = Failure(during="score", cause=without_paths(found.pop(name)["error"]))
            self._recorder.fail(name, failure)
        return found

    def _store(self, outputs: dict[str, str], split: str) -> dict[str, ArrayRef]:
        if not self._recorder.run.plan.keep_predictions:
            return {}
        base = self._recorder.directory.path
        targets = Snapshot(self._prepared.snapshots[split]).targets
        if targets is not None:
            write_array(base, f"samples/{split}/targets.npz", targets=np.array(targets))
        return {
            name: write_array(
                base,
                f"samples/{split}/{stem(self._recorder, name)}-predictions.npz",
                predictions=np.load(path),
            )
            for name, path in outputs.items()
        }

    def _members(self, split: str) -> Path:
        """What the comparison finds of slices and groups; every later one reads it."""
        return self._work / f"{split}-members.npz"

    def _store_members(self, split: str) -> ArrayRef | None:
        path = self._members(split)
        if not self._recorder.run.plan.keep_predictions or not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return write_array(self._recorder.directory.path, f"samples/{split}/members.npz", **arrays)


def stem(recorder: Recorder, name: str) -> str:
    """The beginning of a candidate's file names: its number in the plan, and its name made safe."""
    return file_stem([c.name for c in recorder.run.candidates].index(name), name)


def file_stem(number: int, name: str) -> str:
    """The same from a candidate's number in the plan."""
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-")
    return f"{number:02d}-{safe[:60]}"


def comparison_arguments(
    plan: Plan,
    split: str,
    outputs: dict[str, str],
    baseline: str,
    snapshot: Path,
    project_dir: Path,
    members: Path | None = None,
) -> dict[str, Any]:
    """What :data:`COMPARE` takes: ``report --verify`` calls it with the same.

    Args:
        plan: Metrics, margins, seed and all else that shapes the numbers.
        split: Name of the split.
        outputs: File of what is scored of each candidate, ``.npy``.
        baseline: Name of the one that the others are compared with.
        snapshot: Directory of the split.
        project_dir: Where the user's code is imported from.
        members: File of the slices and groups, as :attr:`Quality.members` refers to it; written
            where it is not there. None: the user's functions are called.
    """
    requests = [
        MetricRequest(
            name=margin.metric,
            function=margin.function,
            higher_is_better=margin.higher_is_better,
            max_drop=margin.max_drop,
            relative=margin.relative,
        ).model_dump(mode="json")
        for margin in plan.margins
    ]
    return {
        "outputs": outputs,
        "baseline": baseline,
        "snapshot": str(snapshot),
        "split": split,
        "metrics": requests,
        "task": plan.task,
        "project_dir": str(project_dir),
        "seed": plan.seed,
        "slices": plan.slices,
        "groups": plan.groups,
        "members": None if members is None else str(members),
    }


def quality_of(
    split: str,
    predictions: ArrayRef | None,
    found: dict[str, Any],
    members: ArrayRef | None = None,
) -> Quality:
    """What :data:`COMPARE` says of one candidate, as a record.

    Args:
        split: Name of the split.
        predictions: Where the answers are stored.
        found: The candidate's entry of the answer.
        members: Where the slices and groups are stored.
    """
    return Quality(
        split=split,
        predictions=predictions,
        metrics=tuple(MetricResult.model_validate(m) for m in found["metrics"]),
        flip_rate=found["flip_rate"],
        broken_rate=found["broken_rate"],
        slices=tuple(SliceResult.model_validate(part) for part in found["slices"]),
        members=members,
    )


def fallback_warning(candidate: PlannedCandidate, placement: Placement) -> str:
    """What the run says of a candidate some of whose nodes ran elsewhere."""
    from mlopt.providers import resolve_provider

    provider = resolve_provider(candidate.provider).ort_name
    elsewhere = sum(n for name, n in placement.nodes.items() if name != provider)
    total = sum(placement.nodes.values())
    return f"{candidate.name}: {elsewhere} of {total} nodes did not run on {candidate.provider}"


def slice_warning(name: str, part: SliceResult, quality: Quality) -> str:
    """What the run says of a slice that certainly lost more than the whole may."""
    loss, margin = (
        f"{amount * 100:.3g} points" if part.metric in POINTS else f"{amount:.3g}"
        for amount in (part.least_loss, quality.metrics[0].max_drop or 0.0)
    )
    return (
        f"{name}: the slice '{part.name}' ({part.examples} examples of {quality.split}) lost at least "
        f"{loss} of {part.metric}; all examples together may lose {margin}. Slices do not decide: "
        "look at this one before you ship."
    )


def failure_of(during: str, error: MloptError) -> Failure:
    """What a candidate's record says of an error."""
    log = error.log if isinstance(error, WorkerFailure) else ""
    return Failure.model_validate(
        {"during": during, "cause": without_paths(str(error)), "log": without_paths(log)}
    )

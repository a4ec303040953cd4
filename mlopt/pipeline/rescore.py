"""Every metric, flip and slice of a stored run again, from the stored predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.errors import MloptError
from mlopt.pipeline.integrity import UNREADABLE
from mlopt.pipeline.ledger import Ledger
from mlopt.pipeline.quality import COMPARE, comparison_arguments, quality_of
from mlopt.pipeline.recompute import NOT_ITS_SAMPLES, PHASES, Evidenced
from mlopt.store.arrays import read_arrays
from mlopt.store.snapshot import SnapshotWriter
from mlopt.types.measurement import Quality
from mlopt.types.plan import Plan
from mlopt.types.privacy import without_paths
from mlopt.workers import Limits, run_task

_ARRAYS = ("predictions", "members")

NO_PREDICTIONS = "the run was made with --no-predictions"

OnEvent = Callable[[str, float | None], None]


class ProjectGiven(NamedTuple):
    """The project of a run, as it stands now.

    Attributes:
        directory: Where the user's code is imported from.
        snapshots: Directory of each split whose data is that of the run.
    """

    directory: Path
    snapshots: dict[str, Path]


class Rescorer(NamedTuple):
    """What recomputes the quality of candidates.

    Attributes:
        project: None: only what needs none of the user's code and inputs.
        work: Directory for what the worker reads.
    """

    given: Evidenced
    project: ProjectGiven | None
    work: Path
    limits: Limits
    on_event: OnEvent

    def recompute(self, ledger: Ledger) -> None:
        """Compares the quality of every candidate on both splits."""
        for phase, split in PHASES.items():
            stored = {
                i: evidence.quality
                for i, candidate in enumerate(self.given.run.candidates)
                if (evidence := getattr(candidate, phase)) is not None
                and evidence.quality is not None
            }
            if not stored:
                continue
            found = self._answers(stored, phase, split)
            for i, quality in stored.items():
                self._settle(ledger, ("candidates", i, phase, "quality"), quality, split, found)

    def _settle(
        self,
        ledger: Ledger,
        place: tuple[str, int, str, str],
        quality: Quality,
        split: str,
        found: dict[str, Any] | str,
    ) -> None:
        name = self.given.run.candidates[place[1]].name
        ledger.expect((*place, "split"), split)
        for field in _ARRAYS:
            if self.given.usable(getattr(quality, field)):  # the file was compared with it before
                ledger.expect((*place, field), ledger.at((*place, field)))
        if isinstance(found, str) or "error" in found.get(name, {"error": ""}):
            reason = found if isinstance(found, str) else self._why_not(name, found, quality)
            for field in Quality.model_fields.keys() - {"split", *_ARRAYS}:
                ledger.give_up((*place, field), reason)
            return
        again = quality_of(split, None, found[name]).model_dump(
            mode="json", exclude={"split", *_ARRAYS}
        )
        metrics = again.pop("metrics")
        scale = max((_scale(metric) for metric in metrics), default=0.0)
        for field, value in again.items():
            if field == "slices" and self._lacks_the_deciding_metric():
                ledger.give_up((*place, field), needs_project("the metric is the project's own"))
            else:
                ledger.expect((*place, field), value, scale=scale)
        self._metrics(ledger, (*place, "metrics"), metrics)

    def _metrics(self, ledger: Ledger, place: tuple[Any, ...], again: list[Any]) -> None:
        """The user's own metrics were left out where there is no project; the others keep their place."""
        due = [margin.metric for margin in self.given.run.plan.margins]
        if len(ledger.at(place)) != len(due):
            ledger.expect(place, again)
            return
        by_name = {metric["name"]: metric for metric in again}
        for i, name in enumerate(due):
            if name in by_name:
                ledger.expect((*place, i), by_name[name], scale=_scale(by_name[name]))
            else:
                ledger.give_up((*place, i), needs_project("the metric is the project's own"))

    def _why_not(self, name: str, found: dict[str, Any], quality: Quality) -> str:
        if name in found:
            return f"it cannot be compared again: {without_paths(found[name]['error'])}"
        return NO_PREDICTIONS if quality.predictions is None else NOT_ITS_SAMPLES

    def _answers(self, stored: dict[int, Quality], phase: str, split: str) -> dict[str, Any] | str:
        """What the comparison says of each candidate; a text says why it cannot be had."""
        plan, run = self.given.run.plan, self.given.run
        names = {run.candidates[i].name: quality for i, quality in stored.items()}
        base = names.get(run.baseline.name)
        if not plan.keep_predictions or all(q.predictions is None for q in names.values()):
            return NO_PREDICTIONS
        if base is None or not self.given.usable(base.predictions):
            return "the baseline's predictions are not those that the run was made of"
        members = self._members(base, split)
        if isinstance(members, str):
            return members
        without = plan if self.project is not None else _without_user_code(plan)
        if not without.margins:
            return needs_project("the metrics are the project's own")
        try:
            outputs = self._outputs(names, split)
            snapshot = self._snapshot(split) or self._targets_alone(split, outputs)
            directory = self.work if self.project is None else self.project.directory
            arguments = comparison_arguments(
                without, split, outputs, run.baseline.name, snapshot, directory, members
            )
            answer: dict[str, Any] = run_task(COMPARE, arguments, self.limits, self.on_event)
        except (MloptError, *UNREADABLE) as e:
            return f"it cannot be compared again: {without_paths(str(e))}"
        return answer

    def _outputs(self, names: dict[str, Quality], split: str) -> dict[str, str]:
        """The stored predictions as files that the comparison reads."""
        written = {}
        for number, (name, quality) in enumerate(names.items()):
            if quality.predictions is not None and self.given.usable(quality.predictions):
                path = self.work / f"{split}-{number}.npy"
                np.save(path, read_arrays(self.given.run_dir, quality.predictions)["predictions"])
                written[name] = str(path)
        return written

    def _snapshot(self, split: str) -> Path | None:
        return None if self.project is None else self.project.snapshots.get(split)

    def _targets_alone(self, split: str, outputs: dict[str, str]) -> Path:
        """A snapshot of the stored targets, whose inputs are only numbers of examples."""
        file = self.given.run_dir / "samples" / split / "targets.npz"
        targets = None
        if file.is_file():
            with np.load(file, allow_pickle=False) as arrays:
                targets = arrays["targets"]
        count = len(np.load(next(iter(outputs.values())), mmap_mode="r"))
        path = self.work / f"{split}-snapshot"
        with SnapshotWriter(path) as writer:
            writer.append({"example": np.arange(count)}, targets)
            writer.finish()
        return path

    def _members(self, baseline: Quality, split: str) -> Path | str | None:
        """The stored slices and groups; None: the project's functions say them; a text: why neither."""
        plan = self.given.run.plan
        if self._snapshot(split) is not None or (plan.groups is None and not plan.slices):
            return None
        if baseline.members is None:
            return needs_project("the slices and groups are the project's own")
        if not self.given.usable(baseline.members):
            return "the stored slices and groups are not those that the run was made of"
        return self.given.run_dir / baseline.members.path

    def _lacks_the_deciding_metric(self) -> bool:
        margins = self.given.run.plan.margins
        return self.project is None and bool(margins) and margins[0].function is not None


def _scale(metric: dict[str, Any]) -> float:
    value, baseline_value = float(metric["value"]), float(metric["baseline_value"])
    return max(abs(value), abs(baseline_value))


def needs_project(why: str) -> str:
    """The reason of all that only the user's code can recompute."""
    return f"{why}: needs --project"


def _without_user_code(plan: Plan) -> Plan:
    """The plan as far as it can be followed without the project."""
    margins = tuple(margin for margin in plan.margins if margin.function is None)
    return plan.model_copy(update={"margins": margins})

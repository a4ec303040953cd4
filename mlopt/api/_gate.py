"""The regression gate: ``mlopt gate``."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlopt.api._noise import stored_noise_floor
from mlopt.api._optimize import EXIT_CODES
from mlopt.api._overrides import Overrides
from mlopt.errors import ConfigError
from mlopt.pipeline.gate import check_gate
from mlopt.pipeline.gate_lines import percent
from mlopt.pipeline.gate_request import GateRequest, Named
from mlopt.profiling.looks import LOOKS
from mlopt.project import LoadedProject, load_project
from mlopt.report.gate import GateRow, gate_markdown, gate_rows, gate_sentence, timing_in_words
from mlopt.report.github import workflow_commands
from mlopt.report.junit import junit as junit_document
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.store.files import write_atomically
from mlopt.types.events import OnEvent
from mlopt.types.gate import GateReport

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows on the page of a run, as Markdown."""

ON_GITHUB = "GITHUB_ACTIONS"


class GateResult(NamedTuple):
    """A gate that has ended.

    Attributes:
        report: What was found.
        annotations: Workflow commands for GitHub; empty elsewhere.
    """

    report: GateReport
    annotations: list[str]

    @property
    def exit_code(self) -> int:
        """0 PASS, 3 FAIL, 4 INCONCLUSIVE."""
        return EXIT_CODES[self.report.outcome]

    @property
    def sentence(self) -> str:
        """The verdict, and the lines that made it."""
        return gate_sentence(self.report)

    @property
    def rows(self) -> list[GateRow]:
        """A row for each line of the contract."""
        return gate_rows(self.report)

    @property
    def notes(self) -> list[str]:
        """What was timed, and what a reader should know before trusting the verdict."""
        return [timing_in_words(self.report), *(f"warning: {w}" for w in self.report.warnings)]

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        found = self.report.model_dump(mode="json")
        return {
            "schema_version": found.pop("schema_version"),
            "verdict": self.report.outcome,
            "exit_code": self.exit_code,
            **found,
        }


def gate(
    project: Path = Path(),
    *,
    candidate: str | None = None,
    reference: str | None = None,
    budget: Sequence[str] = (),
    max_drop: float | None = None,
    tolerance: float | None = None,
    max_seconds: float | None = None,
    junit: Path | None = None,
    github: bool | None = None,
    seed: int = 0,
    on_event: OnEvent | None = None,
) -> GateResult:
    """Checks what ships against the budget, the margins and the reference. It never trains.

    Args:
        project: Directory of ``mlopt.yaml``, or the file.
        candidate: What is checked; default: ``ship`` of mlopt.yaml. An ``.onnx`` file, the
            directory of an artifact or of a run, ``RUN:CANDIDATE``, or a candidate that the
            project's recipes make without training.
        reference: What it is compared with, in the same forms; default: ``reference`` of
            mlopt.yaml, or the baseline only.
        budget: Lines such as ``p99 < 5ms``, which replace those of the project.
        max_drop: Margin of the first metric, in its units.
        tolerance: How much slower the p50 may be, as a share of the reference's.
        max_seconds: Wall-clock limit of the timing; a load, for a line on throughput, has as much
            again.
        junit: File for JUnit XML. One that is there is removed first: a gate that ends by an error
            leaves none.
        github: Annotate, and write the step summary; None: where GitHub runs it.
        seed: The one number that all randomness derives from.
        on_event: Called with what is going on.

    Raises:
        MloptError: Something cannot be found or built, the reference or the baseline cannot be
            run, or there is nothing to gate.
    """
    if junit is not None:
        _clear(junit)
    loaded = Overrides(budget=budget, max_drop=max_drop).apply(load_project(project))
    own = loaded.project.gate
    request = GateRequest(
        loaded=loaded,
        ship=_ship(loaded, candidate),
        reference=_reference(loaded, reference),
        tolerance=_in_range(tolerance, own.tolerance),
        max_seconds=_positive(max_seconds, own.max_seconds),
        seed=seed,
    )
    _refuse_nothing(request)
    with tempfile.TemporaryDirectory(prefix="mlopt-") as work:
        found = check_gate(
            request, Cache(default_cache_dir()), Path(work), on_event or (lambda event: None)
        )
    report = found.model_copy(update={"warnings": (*_noise_warnings(request), *found.warnings)})
    if junit is not None:
        write_atomically(junit, junit_document(report))
    on_github = os.environ.get(ON_GITHUB) == "true" if github is None else github
    if on_github:
        _append_summary(gate_markdown(report))
    return GateResult(report, workflow_commands(report) if on_github else [])


def _ship(loaded: LoadedProject, candidate: str | None) -> Named:
    if candidate is not None:
        return Named(candidate, Path.cwd())
    if loaded.project.ship is None:
        raise ConfigError(
            f"{loaded.file.name} does not say what ships. Add 'ship: MODEL.onnx' (or the directory of "
            "a run, or the name of a candidate), or give --candidate."
        )
    return Named(loaded.project.ship, loaded.directory)


def _reference(loaded: LoadedProject, reference: str | None) -> Named | None:
    if reference is not None:
        return Named(reference, Path.cwd())
    own = loaded.project.reference
    return None if own is None else Named(own, loaded.directory)


def _in_range(tolerance: float | None, default: float) -> float:
    if tolerance is None:
        return default
    if not 0 < tolerance < 1:
        raise ConfigError(
            f"--tolerance must lie between 0 and 1, and is {tolerance:g}: 0.02 allows 2% more."
        )
    return tolerance


def _positive(max_seconds: float | None, default: float) -> float:
    if max_seconds is None:
        return default
    if not max_seconds > 0:
        raise ConfigError(f"--max-seconds must be positive, and is {max_seconds:g}.")
    return max_seconds


def _refuse_nothing(request: GateRequest) -> None:
    """A gate that no line of a contract could close would always pass."""
    project = request.loaded.project
    margins = [m for m in project.metrics if m.max_drop or m.max_drop_relative]
    if request.reference is None and not project.budget and not margins:
        raise ConfigError(
            f"{request.loaded.file.name} has neither a reference, nor a budget, nor a metric with "
            "'max_drop': there is nothing to gate. Add one of them, or give --reference or --budget."
        )


def _clear(junit: Path) -> None:
    """Removes yesterday's file: a gate that crashes must not leave a green one behind."""
    try:
        junit.parent.mkdir(parents=True, exist_ok=True)
        if junit.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        junit.unlink(missing_ok=True)
    except OSError as e:
        raise ConfigError(
            f"cannot write --junit {junit}: {e.strerror}. Give the path of a file."
        ) from e


def _noise_warnings(request: GateRequest) -> list[str]:
    """Whether the tolerance is finer than what this machine was seen to tell from noise."""
    if request.reference is None or (floor := stored_noise_floor()) is None:
        return []
    smallest = floor.smallest_change(request.max_seconds, most_launches=LOOKS[-1])
    if request.tolerance >= smallest:
        return []
    known = f"{percent(smallest)} and more" if math.isfinite(smallest) else "no change at all"
    return [
        f"the tolerance of {percent(request.tolerance)} is finer than the noise floor of this machine: "
        f"by what 'mlopt doctor' measured, a gate of {request.max_seconds:g} s can tell {known} here. "
        "Allow more time (--max-seconds), a wider --tolerance, or use a quieter machine"
    ]


def _append_summary(text: str) -> None:
    path = os.environ.get(STEP_SUMMARY)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as e:
        raise ConfigError(
            f"cannot write ${STEP_SUMMARY}, {path}: {e.strerror}. Unset it, or give --no-github."
        ) from e

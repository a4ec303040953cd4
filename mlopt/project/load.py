"""From ``mlopt.yaml`` to a :class:`~mlopt.project.schema.Project`, all mistakes at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mlopt.errors import ConfigError, MloptError, Problems, did_you_mean
from mlopt.project.schema import REQUIRED_SPLITS, SPLITS, Project
from mlopt.registry import Folder
from mlopt.sources.data import DATA_SOURCES, DataSource
from mlopt.sources.models import MODEL_SOURCES, ModelSource
from mlopt.sources.paths import missing_file
from mlopt.types.patterns import REFERENCE
from mlopt.types.record import Record
from mlopt.types.validation import validate
from mlopt.types.yaml_file import read_yaml
from mlopt.workers.usercode import reference_problem

FILE = "mlopt.yaml"

STAND_IN_LINE = "size <= 1 GB"

S = TypeVar("S", bound=Record)


class LoadedProject(NamedTuple):
    """A project and where it stands.

    Attributes:
        directory: Absolute; all paths in the file are relative to it.
        file: The file itself, absolute.
    """

    project: Project
    directory: Path
    file: Path


def load_project(path: Path) -> LoadedProject:
    """Reads a project.

    Args:
        path: The directory of ``mlopt.yaml``, or the file itself.

    Raises:
        ConfigError: The file is missing or wrong; one line for each mistake.
    """
    file = path / FILE if path.is_dir() or not path.suffix else path
    if not file.is_file():
        raise ConfigError(
            f"there is no {file.name} in '{file.parent}'. Give the directory of a project, or make "
            "one with 'mlopt init'."
        )
    problems = Problems(file.name)
    raw = read_yaml(file, file.name)
    project = _parse(raw, file.parent.resolve(), problems)
    problems.raise_if_any(ConfigError)
    assert project is not None  # otherwise there were problems
    return LoadedProject(project, file.parent.resolve(), file.resolve())


def _parse(raw: dict[str, Any], directory: Path, problems: Problems) -> Project | None:
    raw = {"name": _as_name(directory.name), **raw}
    model = _section(MODEL_SOURCES, raw.get("model"), "model", problems)
    if model is not None:
        for key, message in model.problems(directory):
            problems.add(f"model.{key}", message)
    data = _data(raw.get("data"), directory, problems)
    inputs = _inputs(raw, model, directory, problems)
    budget = _budget(raw.get("budget"), problems)
    _check_references(raw, directory, problems)
    metrics = raw.get("metrics")
    if isinstance(metrics, list):
        metrics = [{"name": m} if isinstance(m, str) else m for m in metrics]
    known = {**raw, "model": model, "data": data, "inputs": inputs, "metrics": metrics}
    # Sections with mistakes of their own are noted already; stand-ins let the others be checked.
    known |= {"model": model or ModelSource(), "data": data or {}}
    if inputs is None:
        known["inputs"] = ()
    if metrics is None:
        known.pop("metrics")
    if "budget" in raw:
        known["budget"] = budget
    project = validate(Project, known, problems)
    if project is not None:
        for place, message in project.mistakes():
            problems.add(place, message)
    return project


def _check_references(raw: dict[str, Any], directory: Path, problems: Problems) -> None:
    """What ``student``, ``augment``, ``slices`` and ``groups`` name must be there."""
    student, slices = raw.get("student"), raw.get("slices")
    references = {"augment": raw.get("augment"), "groups": raw.get("groups")}
    for i, part in enumerate(slices if isinstance(slices, list) else []):
        if isinstance(part, dict):
            references[f"slices[{i}].function"] = part.get("function")
    if isinstance(student, dict):
        references["student.factory"] = student.get("factory")
        weights = student.get("weights")
        if isinstance(weights, str) and (missing := missing_file(directory, weights)) is not None:
            problems.add("student.weights", missing)
    for place, reference in references.items():
        if not isinstance(reference, str) or not re.fullmatch(REFERENCE, reference):
            continue  # the schema says so
        if (problem := reference_problem(reference, directory)) is not None:
            problems.add(place, problem)


def _as_name(directory: str) -> str:
    """The name of a directory in the characters that a project's name may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", directory).strip("_.-") or "project"


def _budget(value: Any, problems: Problems) -> Any:
    """The lines, with a stand-in for each that is no text."""
    if not isinstance(value, list):
        return value
    for i, line in enumerate(value):
        if not isinstance(line, str):
            problems.add(f"budget[{i}]", "should be text such as 'p99 <= 5 ms'.")
    return [line if isinstance(line, str) else STAND_IN_LINE for line in value]


def _section(folder: Folder[S], value: Any, place: str, problems: Problems) -> S | None:
    """The entry of ``folder`` whose name is among the keys of ``value``."""
    names = list(folder.entries)
    if value is None:
        problems.add(
            "", f"'{place}' is missing. Add it, with one of the keys {' or '.join(names)}."
        )
        return None
    if not isinstance(value, dict):
        problems.add(place, f"should be a mapping with one of the keys {' or '.join(names)}.")
        return None
    meant = [name for name in names if name in value]
    if len(meant) != 1:
        found = " and ".join(meant or map(str, value)) or "none"
        near = f" {did_you_mean(str(next(iter(value))), names)}" if value and not meant else ""
        problems.add(
            place, f"must have exactly one of the keys {' or '.join(names)}, and has {found}.{near}"
        )
        return None
    return validate(folder.entries[meant[0]], value, problems, place)


def _data(value: Any, directory: Path, problems: Problems) -> dict[str, DataSource] | None:
    if value is None:
        problems.add("", f"'data' is missing. Add it, with the splits {', '.join(SPLITS)}.")
        return None
    if not isinstance(value, dict):
        problems.add("data", f"should map each split to its source: {', '.join(SPLITS)}.")
        return None
    for split in REQUIRED_SPLITS:
        if split not in value:
            problems.add(
                "data",
                f"the split '{split}' is missing. The choice is made on selection and proved on holdout: give both.",
            )
    found: dict[str, DataSource] = {}
    for split, source in value.items():
        place = f"data.{split}"
        if split not in SPLITS:
            problems.add("data", f"unknown split '{split}'. {did_you_mean(str(split), SPLITS)}")
            continue
        section = {"function": source} if isinstance(source, str) else source
        parsed = _section(DATA_SOURCES, section, place, problems)
        if parsed is None:
            continue
        for key, message in parsed.problems(directory):
            problems.add(place if isinstance(source, str) else f"{place}.{key}", message)
        found[split] = parsed
    return found


def _inputs(
    raw: dict[str, Any], model: ModelSource | None, directory: Path, problems: Problems
) -> Any:
    if raw.get("inputs"):
        return raw["inputs"]
    if model is None or any(model.problems(directory)):
        return None
    try:
        declared = model.declared_inputs(directory)
    except MloptError as e:
        problems.add("", str(e))
        return None
    if not declared:
        problems.add(
            "",
            "'inputs' is missing. List each input as {name: image, dtype: float32, shape: [batch, 1, 32, 32]}.",
        )
    return declared

"""What a user may name as an artifact: a file, a directory, a run, or a candidate of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlopt.errors import ConfigError, MloptError, RunError, did_you_mean
from mlopt.machine import usable_cpus
from mlopt.pipeline.seal import artifact_sha256
from mlopt.providers import ORT, resolve_provider
from mlopt.runners import RUNNERS
from mlopt.store.cache import Cache
from mlopt.store.hashing import sha256_file
from mlopt.store.rundir import RUN, RunDirectory
from mlopt.types.artifact import MANIFEST, Artifact, Format
from mlopt.types.candidate import PlannedCandidate, Stage
from mlopt.types.run import CandidateResult

SESSION = "session.json"
RUNNER_OF: dict[Format, str] = {"onnx": ORT, "torch": "pytorch"}

EITHER = frozenset({ORT, "openvino"})
"""Runners of mlopt's that execute one and the same file. Which of them does on a provider is up to the
machine."""

FORMS = (
    "Name an .onnx file, the directory of an artifact or of a run, or a candidate of a run as "
    "RUN:CANDIDATE; '@provider' at its end says where to run it."
)


class Place(NamedTuple):
    """The parts of a name: ``PATH[:CANDIDATE][@PROVIDER]``.

    Attributes:
        path: It exists.
        candidate: May hold the provider as well, since names of candidates do.
    """

    path: Path
    candidate: str | None = None
    provider: str | None = None


class Entrant(NamedTuple):
    """An artifact that was named, and how it is run.

    Attributes:
        name: As the user wrote it.
        onnx: A bare file that has yet to become an artifact; None for what is one.
        directory: Of the artifact, or where it will be.
        ships_with: The runner that it is meant to have, which cannot run it on this machine; None: it
            has the one that it is meant to have.
    """

    name: str
    onnx: Path | None
    directory: Path
    runner: str
    provider: str
    settings: dict[str, Any]
    ships_with: str | None = None

    @property
    def stage(self) -> Stage:
        """What executes it."""
        return Stage(
            artifact=str(self.directory),
            runner=self.runner,
            provider=self.provider,
            settings=self.settings,
        )

    @property
    def artifact(self) -> Artifact:
        """The artifact; there is one after :func:`~mlopt.pipeline.admission.admit`."""
        return Artifact.open(self.directory)


class Named(NamedTuple):
    """What a name means, wherever it will be run.

    Attributes:
        entrant: As it is meant to run.
        provider: Where the name says to run it; None: it does not say.
    """

    entrant: Entrant
    provider: str | None


def locate(
    text: str, base: Path, cache: Cache, workspace: Path, provider: str | None = None
) -> Entrant | None:
    """What ``text`` names; no model is opened.

    Args:
        text: ``FILE.onnx``, the directory of an artifact or of a run, or ``RUN:CANDIDATE``; with
            ``@PROVIDER`` at its end.
        base: Directory that relative paths start from.
        cache: Where candidates of runs are.
        workspace: Directory for the artifact that is made of a bare file; it need not exist.
        provider: Where it runs, if ``text`` does not say so; None: where it is meant to run.

    Returns:
        None when there is nothing of that name on disk.

    Raises:
        ConfigError: The run has no such candidate, or it is no longer in the cache; or the
            provider is unknown, or cannot run this kind of artifact.
        RunError: The run or the artifact is damaged.
        UnavailableError: The provider cannot be used here.
    """
    found = named(text, base, cache, workspace)
    return None if found is None else on_provider(found.entrant, found.provider or provider)


def named(text: str, base: Path, cache: Cache, workspace: Path) -> Named | None:
    """What ``text`` names, before anybody asks whether its provider can be used.

    Args:
        text: As for :func:`locate`, and so are the others.
        base: Directory that relative paths start from.
        cache: Where candidates of runs are.
        workspace: Directory for the artifact that is made of a bare file.

    Returns:
        None when there is nothing of that name on disk.

    Raises:
        ConfigError: The run has no such candidate, or it is no longer in the cache.
        RunError: The run or the artifact is damaged.
    """
    place = parse(text, base)
    if place is None:
        return None
    path = place.path
    if place.candidate is not None or (path / RUN).is_file():
        found = _of_run(place, text, cache)
    elif path.is_dir():
        found = _of_directory(path, text)
    else:
        found = _default(text, path.resolve(), workspace, "onnx")
    return Named(found, _provider_said(place, found))


def missing(text: str) -> ConfigError:
    """The error for a name that names nothing."""
    return ConfigError(f"there is no file or directory '{text}'. {FORMS}")


def parse(text: str, base: Path) -> Place | None:
    """Divides a name at the first ``:`` and the last ``@`` before and after which it makes sense.

    A path may hold both characters itself: what exists on disk decides.

    Returns:
        None when no beginning of ``text`` exists.
    """
    for whole, provider in _with_provider(text):
        if (base / whole).exists():
            return Place(base / whole, None, provider)
    for i, character in enumerate(text):
        if character == ":" and text[i + 1 :] and (base / text[:i] / RUN).is_file():
            return Place(base / text[:i], text[i + 1 :])
    return None


def _with_provider(text: str) -> Iterator[tuple[str, str | None]]:
    yield text, None
    head, at, tail = text.rpartition("@")
    if at and head and tail:
        yield head, tail


def _provider_said(place: Place, found: Entrant) -> str | None:
    """The provider that a name ends in, if it does."""
    if place.provider is not None or place.candidate is None:
        return place.provider
    _, at, tail = place.candidate.rpartition("@")
    return tail if at and tail != found.provider else None


def _of_directory(path: Path, text: str) -> Entrant:
    for directory in (path, path / "model"):
        if (directory / MANIFEST).is_file():
            return _with_session(directory, text)
    raise ConfigError(f"'{text}' holds no artifact. {FORMS}")


def _with_session(directory: Path, text: str) -> Entrant:
    """An artifact with the session settings that stand beside it, if there are any."""
    artifact = _unchanged(Artifact.open(directory), text)
    plain = _default(text, None, directory, artifact.manifest.format)
    file = directory / SESSION
    if not file.is_file():
        return plain
    try:
        session = json.loads(file.read_text(encoding="utf-8"))
        return plain._replace(
            runner=str(session["runner"]),
            provider=str(session["provider"]),
            settings=dict(session["settings"]),
        )
    except (ValueError, KeyError, TypeError) as e:
        raise RunError(
            f"'{text}': {SESSION} is damaged ({e}). Restore it, or run 'mlopt optimize' again."
        ) from e


def _of_run(place: Place, text: str, cache: Cache) -> Entrant:
    run = RunDirectory(place.path).read_run()
    name = place.candidate
    if name is None:
        if run.decision is None or run.decision.chosen is None:
            raise ConfigError(
                f"'{text}' chose no candidate. Name one of its candidates: "
                f"{_candidates(text, run.candidates)}."
            )
        name = run.decision.chosen
    names = [one.name for one in run.candidates]
    if name not in names and name.rpartition("@")[0] in names:
        name = name.rpartition("@")[0]
    if name not in names:
        raise ConfigError(
            f"'{place.path.name}' has no candidate '{name}'. {did_you_mean(name, names)}"
        )
    result = run.candidate(name)
    directory = _kept(place.path, result, cache)
    if directory is None:
        raise ConfigError(
            f"'{name}' of the run '{place.path.name}' is neither in the cache nor in the run's model/, "
            "which holds the chosen artifact and is not under version control. Put model/ back, run "
            "'mlopt optimize' on its project again, which builds it, or name another artifact."
        )
    return planned_entrant(text, result.plan, _unchanged(Artifact.open(directory), text))


def planned_entrant(text: str, plan: PlannedCandidate, artifact: Artifact) -> Entrant:
    """A candidate of a plan that has been built."""
    return Entrant(text, None, artifact.directory, plan.runner, plan.provider, dict(plan.settings))


def _kept(run_dir: Path, result: CandidateResult, cache: Cache) -> Path | None:
    """Where the very artifact that a run measured is: with the run, or in the cache."""
    if result.artifact_sha256 is None:
        return None
    places = [run_dir / "model", *cache.directories("artifacts")]
    for directory in places:
        if not (directory / MANIFEST).is_file():
            continue
        if artifact_sha256(Artifact.open(directory).manifest) == result.artifact_sha256:
            return directory
    return None


def _candidates(text: str, results: Sequence[CandidateResult]) -> str:
    return ", ".join(f"'{text}:{one.name}'" for one in results)


def _unchanged(artifact: Artifact, text: str) -> Artifact:
    """The artifact, if its files are those that its manifest lists."""
    for name, entry in artifact.manifest.files.items():
        path = artifact.directory / name
        if not path.is_file() or sha256_file(path) != entry.sha256:
            raise RunError(
                f"'{text}': {name} is not the file that {MANIFEST} lists. Restore the directory, or "
                "name the .onnx file itself."
            )
    return artifact


def _default(text: str, onnx: Path | None, directory: Path, kind: Format) -> Entrant:
    """Run as mlopt would by itself on this machine."""
    runner = RUNNER_OF[kind]
    settings = RUNNERS[runner]().resolve(usable_cpus()).model_dump(mode="json")
    return Entrant(text, onnx, directory, runner, "cpu", settings)


def on_provider(found: Entrant, provider: str | None) -> Entrant:
    """The same artifact on another provider, with the settings that are usual there.

    Args:
        found: What was named.
        provider: By name; None: its own.

    Raises:
        ConfigError: The provider is unknown, or cannot run this kind of artifact.
        UnavailableError: It cannot be used here.
    """
    chosen = resolve_provider(provider or found.provider)
    if found.runner == RUNNER_OF["torch"]:
        if chosen.label != "cpu":
            raise ConfigError(
                f"'{found.name}' is a PyTorch model, which mlopt runs on the CPU only. Leave the "
                f"provider '{chosen.label}' out, or name an ONNX artifact."
            )
        return found
    chosen.require()
    is_own = chosen.label == found.provider
    here = chosen.runners()
    stays = found.runner not in EITHER or (is_own and found.runner in here)
    runner = found.runner if stays else here[0]
    if is_own:
        shipped = None if stays else found.runner
        return _by(runner, found._replace(ships_with=shipped))
    settings = {**_as_usual(found), **chosen.session}
    return _by(runner, found._replace(provider=chosen.label, settings=settings))


def _by(runner: str, found: Entrant) -> Entrant:
    """The same, executed by a runner, with those of its settings that mean something to it."""
    if runner == found.runner:
        return found
    kind, before = RUNNERS[runner], RUNNERS[found.runner]
    usual = kind().resolve(usable_cpus()).model_dump(mode="json")
    foreign = before.model_fields.keys() - kind.model_fields.keys()
    kept = {name: value for name, value in found.settings.items() if name not in foreign}
    return found._replace(runner=runner, settings={**usual, **kept})


def _as_usual(found: Entrant) -> dict[str, Any]:
    """Its settings, without those that only its own provider suggested."""
    try:
        suggested = resolve_provider(found.provider).session
    except MloptError:  # of a plug-in that is not here
        return found.settings
    usual = RUNNERS[found.runner]().model_dump(mode="json")
    return {
        name: usual[name] if suggested.get(name, ...) == value else value
        for name, value in found.settings.items()
    }

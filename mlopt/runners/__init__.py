"""What executes an artifact: one file is one runner."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlopt.errors import ConfigError
from mlopt.providers import Provider, resolve_provider
from mlopt.registry import Folder
from mlopt.runners._base import Runner, axes_of
from mlopt.serving import Opening, Session
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage

RUNNERS: Folder[Runner] = Folder("mlopt.runners", Runner, "runner")

__all__ = ["RUNNERS", "Runner", "Session", "axes_of", "open_stage", "opening_of", "shown_settings"]


def open_stage(stage: Stage, project_dir: Path) -> Session:
    """Loads a stage's artifact with the settings that ship. Runs in a worker process.

    Args:
        stage: What to load, and with what.
        project_dir: Where the user's code is imported from, if the artifact needs it.

    Raises:
        ModelError: It cannot be loaded.
        ConfigError: Its runner or provider is unknown.
    """
    runner, artifact, provider = _resolved(stage)
    return runner.open(artifact, provider, project_dir)


def opening_of(stage: Stage, project_dir: Path) -> Opening:
    """How a process that does nothing but serve a stage opens it.

    Args:
        stage: As for :func:`open_stage`.
        project_dir: As for :func:`open_stage`.

    Raises:
        RunError: The artifact cannot be read.
        ConfigError: Its runner or provider is unknown, or a setting of the session.
    """
    runner, artifact, provider = _resolved(stage)
    general = {"stage": stage.model_dump(mode="json"), "project_dir": str(project_dir)}
    in_general = Opening("mlopt.runners:open_described", general)
    if not (_is_own(runner) and _is_own(provider)):
        return in_general  # a plug-in's code may hang or kill, and runs in a worker alone
    return runner.opening(artifact, provider, project_dir) or in_general


def open_described(stage: dict[str, Any], project_dir: str) -> Session:
    """:func:`open_stage`, of values that JSON has carried to this process."""
    return open_stage(Stage.model_validate(stage), Path(project_dir))


def _is_own(one: Runner | Provider) -> bool:
    return type(one).__module__.partition(".")[0] == __name__.partition(".")[0]


def _resolved(stage: Stage) -> tuple[Runner, Artifact, Provider]:
    try:
        runner = RUNNERS[stage.runner].model_validate(stage.settings)
    except ValidationError as e:
        wrong = e.errors()[0]
        raise ConfigError(
            f"{stage.artifact}: session setting '{wrong['loc'][0]}' of runner '{stage.runner}': "
            f"{wrong['msg']}. Correct it, or make the model again with this version of mlopt."
        ) from e
    return runner, Artifact.open(Path(stage.artifact)), resolve_provider(stage.provider)


def shown_settings(runner: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a candidate's settings that a reader should see: not what is as usual.

    Args:
        runner: Name of the runner. Where it is not known here, or knows other settings by now, all
            of them are shown.
        settings: As they were stored, by this or an older mlopt.
    """
    try:
        shown = RUNNERS[runner].model_validate(dict(settings)).shown()
    except (ConfigError, ValidationError):
        return dict(settings)
    return {name: value for name, value in shown.items() if name in settings}

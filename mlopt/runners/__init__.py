"""What executes an artifact: one file is one runner."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlopt.errors import ConfigError
from mlopt.providers import resolve_provider
from mlopt.registry import Folder
from mlopt.runners._base import Runner, Session
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage

RUNNERS: Folder[Runner] = Folder("mlopt.runners", Runner, "runner")

__all__ = ["RUNNERS", "Runner", "Session", "open_stage", "shown_settings"]


def open_stage(stage: Stage, project_dir: Path) -> Session:
    """Loads a stage's artifact with the settings that ship. Runs in a worker process.

    Args:
        stage: What to load, and with what.
        project_dir: Where the user's code is imported from, if the artifact needs it.

    Raises:
        ModelError: It cannot be loaded.
        ConfigError: Its runner or provider is unknown.
    """
    runner = RUNNERS[stage.runner].model_validate(stage.settings)
    artifact = Artifact.open(Path(stage.artifact))
    return runner.open(artifact, resolve_provider(stage.provider), project_dir)


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

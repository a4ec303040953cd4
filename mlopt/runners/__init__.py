"""What executes an artifact: one file is one runner."""

from pathlib import Path

from mlopt.providers import resolve_provider
from mlopt.registry import Folder
from mlopt.runners._base import Runner, Session
from mlopt.types.artifact import Artifact
from mlopt.types.candidate import Stage

RUNNERS: Folder[Runner] = Folder("mlopt.runners", Runner, "runner")

__all__ = ["RUNNERS", "Runner", "Session", "open_stage"]


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

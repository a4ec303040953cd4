"""Importing what the user wrote. Only ever done inside a worker."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from mlopt.errors import ConfigError, did_you_mean


def load_object(reference: str, project_dir: Path, place: str) -> Any:
    """Imports ``module:name`` from the project's directory.

    Args:
        reference: As written in mlopt.yaml.
        project_dir: Put first on the import path of this process.
        place: Where in mlopt.yaml the reference stands, for messages.

    Raises:
        ConfigError: There is no such module or name in it, or importing it raises.
    """
    module_name, _, name = reference.partition(":")
    module = _import(module_name, project_dir, place)
    if not hasattr(module, name):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise ConfigError(f"{place}: '{module_name}' has no '{name}'. {did_you_mean(name, public)}")
    return getattr(module, name)


def _import(name: str, project_dir: Path, place: str) -> ModuleType:
    path = str(project_dir)
    if path not in sys.path:
        sys.path.insert(0, path)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as e:
        if not f"{name}.".startswith(f"{e.name}."):
            raise ConfigError(
                f"{place}: importing '{name}' failed: {e}. Install '{e.name}' beside mlopt."
            ) from e
        own = [file.stem for file in project_dir.glob("*.py")]
        raise ConfigError(
            f"{place}: no module '{name}' beside mlopt.yaml. {did_you_mean(name, own)}"
        ) from e
    except (Exception, SystemExit) as e:
        raise ConfigError(f"{place}: importing '{name}' raised {describe(e, project_dir)}") from e
    _refuse_shadowed(module, name, project_dir, place)
    return module


def _refuse_shadowed(module: ModuleType, name: str, project_dir: Path, place: str) -> None:
    own = project_dir / (name.replace(".", "/") + ".py")
    loaded = getattr(module, "__file__", None)
    if own.exists() and (loaded is None or Path(loaded).resolve() != own.resolve()):
        raise ConfigError(
            f"{place}: '{name}' is also the name of a module that Python already has, which hides "
            f"the project's {own.name}. Rename the file."
        )


def describe(error: BaseException, project_dir: Path) -> str:
    """``TypeError: ... (model.py, line 12)``: the error and the last place in the user's code."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        installed = "site-packages" in file.parts  # in a virtual environment inside the project
        if file.is_relative_to(project_dir) and not installed:
            where = f" ({file.relative_to(project_dir).as_posix()}, line {frame.lineno})"
    text = str(error).strip().split("\n")[0][:300]
    return f"{type(error).__name__}: {text}{where}"


def seed_randomness(seed: int) -> None:
    """Seeds Python, numpy and, where somebody has imported it, torch.

    Args:
        seed: Any non-negative integer.
    """
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)  # what libraries and users draw from
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)

"""What the user wrote: imported inside a worker only, and looked at before without that."""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mlopt.errors import ConfigError, did_you_mean


def reference_problem(reference: str, project_dir: Path) -> str | None:
    """What can be seen to be wrong with a ``module:name`` without importing it; None: nothing.

    Args:
        reference: As written in mlopt.yaml.
        project_dir: Where the user's modules are.
    """
    module, _, name = reference.partition(":")
    own = project_dir / (module.replace(".", "/") + ".py")
    top = module.partition(".")[0]
    if not own.is_file():
        if (project_dir / top).exists() or (project_dir / f"{top}.py").exists() or find_spec(top):
            return None
        return _no_module(module, project_dir)
    defined = _names_defined(own)
    if defined is None or name in defined:
        return None
    public = [n for n in defined if not n.startswith("_")]
    return f"'{module}' has no '{name}'. {did_you_mean(name, public)}"


def _names_defined(file: Path) -> set[str] | None:
    """Names that a module's top level binds; None where that cannot be told from its text."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError, OSError):
        return None
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr):
            names |= {
                n.id
                for n in ast.walk(node)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        else:
            return None  # a condition or a loop may bind anything
    return None if "*" in names or "__getattr__" in names else names


def _no_module(name: str, project_dir: Path) -> str:
    own = [file.stem for file in project_dir.glob("*.py")]
    return f"no module '{name}' beside mlopt.yaml. {did_you_mean(name, own)}"


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
        raise ConfigError(f"{place}: {_no_module(name, project_dir)}") from e
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

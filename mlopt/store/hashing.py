"""Content hashes, as keys and as proof that a file is unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hash of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_files(files: Iterable[tuple[str, Path]]) -> str:
    """Hash over names and contents of several files."""
    return sha256_json(sorted((name, sha256_file(path)) for name, path in files))


def sha256_sources(project_dir: Path) -> str:
    """Hash over every Python file below the project's directory, hidden folders left out."""
    return sha256_files(
        (path.relative_to(project_dir).as_posix(), path) for path in _python_files(project_dir)
    )


def _python_files(directory: Path) -> Iterable[Path]:
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name in _SKIPPED:
            continue
        if path.is_dir():
            if not (path / "pyvenv.cfg").exists():
                yield from _python_files(path)
        elif path.suffix == ".py":
            yield path

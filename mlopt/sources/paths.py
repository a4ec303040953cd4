"""Files that a project names."""

from __future__ import annotations

from pathlib import Path

from mlopt.errors import did_you_mean


def missing_file(project_dir: Path, path: str) -> str | None:
    """What is wrong with ``path``, relative to the project, if it is no file; else None."""
    try:
        if (project_dir / path).is_file():
            return None
        what = "is a directory" if (project_dir / path).is_dir() else "does not exist"
    except (OSError, ValueError):  # too long for the file system, or with a null byte in it
        what = "is no possible path"
    beside = [p.name for p in project_dir.iterdir() if p.suffix == Path(path).suffix]
    hint = did_you_mean(path, beside) if beside else "Check the path."
    return f"the file '{path[:200]}' {what} beside mlopt.yaml. {hint}"

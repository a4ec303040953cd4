"""Render a stored run again."""

from __future__ import annotations

from pathlib import Path


def render_report(run_dir: Path) -> Path:
    """Writes ``adr.md`` and ``plots/`` of a run again, from ``run.json`` and the samples alone.

    Args:
        run_dir: A directory that :func:`mlopt.api.optimize` wrote.

    Returns:
        The path of ``adr.md``.

    Raises:
        RunError: The run is missing or damaged.
    """
    from mlopt.report import write_report

    return write_report(run_dir)

"""Fixtures for the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlopt.report import write_report
from mlopt.types.run import Run

from .synthetic import make_run


@pytest.fixture(scope="session")
def standard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A complete run that passes, and the path of its report."""
    run_dir = tmp_path_factory.mktemp("standard")
    return make_run(run_dir), write_report(run_dir)

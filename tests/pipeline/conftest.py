"""A small project, and the plug-in that misbehaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from linear_project import write_project

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture
def onnx_project(tmp_path: Path) -> Callable[..., Path]:
    """:func:`write_project` in a directory of the test's own."""

    def write(**overrides: object) -> Path:
        return write_project(tmp_path / "project", **overrides)

    return write


@pytest.fixture
def faulty_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes the plug-in importable, here and in worker processes."""
    from mlopt.passes import PASSES
    from mlopt.providers import PROVIDERS

    monkeypatch.syspath_prepend(str(PLUGINS))
    path = os.pathsep.join([str(PLUGINS), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    for folder in (PASSES, PROVIDERS):
        folder.__dict__.pop("entries", None)
    yield
    for folder in (PASSES, PROVIDERS):
        folder.__dict__.pop("entries", None)
    sys.modules.pop("mlopt_faulty", None)

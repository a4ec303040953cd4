"""The command line as a user runs it, on the sample of the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCHES, ROUNDS = 2, 4
"""Fewer than the sample has, so that the tests end soon; the README's first command runs it whole."""

RECIPES = ("fp32", "int8-dynamic", "int8-static")
"""Those that do not train; tests/pipeline has a smaller network that is."""

SAMPLE = ROOT / "sample_models" / "digits_resnet"


class Finished(NamedTuple):
    code: int
    out: str
    err: str


def mlopt(arguments: Sequence[str], cwd: Path, **environment: str) -> Finished:
    """Runs ``mlopt`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mlopt", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


class SampleRun(NamedTuple):
    """One run of ``mlopt optimize --json`` on the sample, shared by many tests.

    Attributes:
        project: The sample, measured briefly.
    """

    project: Path
    finished: Finished
    document: dict[str, Any]
    directory: Path


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    place = tmp_path_factory.mktemp("sample")
    shutil.copytree(SAMPLE, place / "digits_resnet", ignore=shutil.ignore_patterns("__pycache__"))
    file = place / "digits_resnet" / "mlopt.yaml"
    shorter = {"launches": LAUNCHES, "rounds": ROUNDS, "max_seconds": 45}
    project = yaml.safe_load(file.read_text()) | {"measurement": shorter}
    file.write_text(yaml.safe_dump(project))
    quick = [part for name in RECIPES for part in ("--recipe", name)]
    finished = mlopt(["optimize", "digits_resnet", "--json", *quick], place)
    document = json.loads(finished.out)
    return SampleRun(place / "digits_resnet", finished, document, place / document["run_dir"])

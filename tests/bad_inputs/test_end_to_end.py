"""Mistakes that only a worker can see: the same errors, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlopt import api
from mlopt.errors import ConfigError, DataError, MloptError, ModelError

pytestmark = pytest.mark.slow

HOLDOUT_IS_SELECTION = {"data.holdout": "data:selection"}
BUILD_RAISES = "def build():\n    raise RuntimeError('no weights')\n"

TWO_OUTPUTS = """\
from torch import nn


class Net(nn.Sequential):
    def forward(self, x):
        return super().forward(x), x


def build():
    return Net(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
"""

CASES: dict[str, tuple[dict[str, str], dict[str, str], type[MloptError], str]] = {
    "data that cannot be imported": (
        {"data.holdout": "data:holdot"},
        {},
        ConfigError,
        "mlopt.yaml, data.holdout: 'data' has no 'holdot'. Did you mean 'holdout'?",
    ),
    "a holdout that was chosen by": (
        HOLDOUT_IS_SELECTION,
        {},
        DataError,
        "data: selection and holdout share 40 examples. A number measured on seen examples "
        "flatters: give each example to one of them (only calibration may lie inside training).",
    ),
    "a model that cannot be built": (
        {},
        {"model.py": BUILD_RAISES},
        ModelError,
        "model.factory: 'model:build' raised RuntimeError: no weights (model.py, line 2)",
    ),
}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.mark.parametrize("case", CASES)
def test_optimize_makes_no_directory_for(case, project_dir, elsewhere: Path, refuses):
    changes, files, kind, message = CASES[case]
    project = project_dir(changes, files=files)
    before = sorted(p.name for p in project.iterdir())
    with refuses(kind, message):
        api.optimize(project)
    assert list(elsewhere.iterdir()) == []
    assert sorted(p.name for p in project.iterdir() if p.name != "__pycache__") == before


def test_two_projects_with_modules_of_one_name_do_not_disturb_each_other(project_dir, elsewhere):
    first = project_dir(name="first")
    second = project_dir(
        {"outputs": ["scores", "features"]},
        name="second",
        files={
            "data.py": (first / "data.py").read_text().replace("examples=40", "examples=60"),
            "model.py": TWO_OUTPUTS,
        },
    )
    plans = [api.plan(project) for project in (first, second)]
    assert [plan.data["holdout"].examples for plan in plans] == [40, 60]
    assert list(elsewhere.iterdir()) == []

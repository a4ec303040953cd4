"""References to code that is not there: all of them are reported at once, without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlopt.errors import ConfigError
from mlopt.project import load_project
from mlopt.workers.usercode import reference_problem


def test_every_wrong_reference_of_a_project_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def build(): ...\n")
    (tmp_path / "data.py").write_text("def selection(): ...\ndef holdout(): ...\n")
    (tmp_path / "mlopt.yaml").write_text(
        "model: {factory: 'model:biuld', weights: w.pt}\n"
        "inputs: [{name: x, dtype: float32, shape: [batch, 2]}]\n"
        "data: {selection: 'data:selektion', holdout: 'dta:holdout'}\n"
        "metrics: [acuracy]\n"
    )
    with pytest.raises(ConfigError) as error:
        load_project(tmp_path)
    lines = str(error.value).splitlines()
    assert lines[:4] == [
        "mlopt.yaml, model.weights: the file 'w.pt' does not exist beside mlopt.yaml. Check the path.",
        "mlopt.yaml, model.factory: 'model' has no 'biuld'. Did you mean 'build'?",
        "mlopt.yaml, data.selection: 'data' has no 'selektion'. Did you mean 'selection'?",
        "mlopt.yaml, data.holdout: no module 'dta' beside mlopt.yaml. Did you mean 'data'?",
    ]
    assert "unknown metric 'acuracy'" in lines[4]


@pytest.mark.parametrize(
    "code",
    [
        "build = 1",
        "from a import build",
        "import x as build",
        "class build: ...",
        "a, build = 1, 2",
        "from a import *",
        "if True:\n    build = 1",
        "try:\n    build = 1\nexcept Exception:\n    pass",
        "this is no python",
    ],
)
def test_a_name_that_may_be_there_is_not_complained_of(tmp_path: Path, code: str) -> None:
    (tmp_path / "model.py").write_text(code + "\n")
    assert reference_problem("model:build", tmp_path) is None


def test_installed_modules_and_packages_of_the_project_are_left_to_the_import(
    tmp_path: Path,
) -> None:
    (tmp_path / "nets").mkdir()
    assert reference_problem("json:anything", tmp_path) is None
    assert reference_problem("nets.deep:build", tmp_path) is None

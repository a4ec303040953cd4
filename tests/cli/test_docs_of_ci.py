"""What ``docs/ci.md`` shows is what the command line takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mlopt.project.schema import Project

TEXT = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")
FILES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)]
COMMANDS = sorted(set(re.findall(r"mlopt (\w+)((?: [^`'|\n]+)?)", TEXT)))


def test_the_keys_of_the_project_file_exist() -> None:
    keys = next(one for one in FILES if "ship" in one)
    assert set(keys) <= set(Project.model_fields)
    assert set(keys["gate"]) == set(type(Project.model_fields["gate"].default).model_fields)


def test_the_workflow_and_the_hook_run_the_gate() -> None:
    workflow = next(one for one in FILES if "jobs" in one)
    steps = workflow["jobs"]["gate"]["steps"]
    assert any("mlopt gate" in step.get("run", "") for step in steps)
    (hook,) = next(one for one in FILES if "repos" in one)["repos"][0]["hooks"]
    assert "mlopt gate" in hook["entry"]
    assert not hook["pass_filenames"]


@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_every_option_that_is_shown_exists(mlopt_command, command: str, words: str) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = mlopt_command(command, "--help")
    assert code == 0
    assert [o for o in re.findall(r"--[a-z-]+", words) if o not in out] == []

"""``--help``, ``--version`` and completion, and what they must not import."""

import os
import subprocess
import sys

import pytest

import mlopt
from mlopt.cli.completion import complete_provider, complete_recipe

COMMANDS = [
    "",
    "optimize",
    "profile",
    "compare",
    "diagnose",
    "gate",
    "report",
    "schema",
    "doctor",
    "init",
    "recipes",
    "recipes show",
    "recipes validate",
    "cache",
    "cache prune",
]
HEAVY = ("torch", "onnxruntime", "onnx", "numpy", "scipy", "pydantic", "mlopt.api", "mlopt.types")
PROBE = f"""
import sys
from mlopt.cli.app import main
code = main(sys.argv[1:])
print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_loads_nothing_heavy(command):
    arguments = [sys.executable, "-c", PROBE, *command.split(), "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"Usage: mlopt {command}".strip() in done.stdout
    assert done.stderr.strip() == ""


def test_help_names_every_command(mlopt_command):
    code, out, _ = mlopt_command("-h")
    assert code == 0
    for command in {command.split()[0] for command in COMMANDS if command}:
        assert command in out
    assert "130" in out


def test_without_a_command_the_help_is_shown_and_the_usage_is_wrong(mlopt_command):
    code, out, err = mlopt_command()
    assert code == 2
    assert "Usage: mlopt" in out
    assert err == ""


def test_version_is_printed(mlopt_command):
    assert mlopt_command("--version") == (0, f"mlopt {mlopt.__version__}\n", "")


def test_python_m_mlopt_is_the_same_program():
    arguments = [sys.executable, "-m", "mlopt", "--version"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"mlopt {mlopt.__version__}\n")


def test_recipes_and_providers_are_completed(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "int8-mine.yaml").write_text("not even a recipe")
    monkeypatch.chdir(tmp_path)
    assert complete_recipe("int8-m") == ["int8-mine"]
    assert "fp32" in complete_recipe("")
    assert complete_provider("cp") == ["cpu"]
    assert "openvino-bf16" in complete_provider("openv")
    assert "generic" not in complete_provider("")


def test_the_shell_can_ask_for_completions(monkeypatch):
    environment = {"_MLOPT_COMPLETE": "complete_bash", "COMP_WORDS": "mlopt opt", "COMP_CWORD": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arguments = [sys.executable, "-m", "mlopt"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["optimize"]


def test_completion_can_be_installed():
    arguments = [sys.executable, "-m", "mlopt", "--show-completion", "bash"]
    # Otherwise the shell is the one above this process, if there is any.
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0
    assert "_MLOPT_COMPLETE" in done.stdout

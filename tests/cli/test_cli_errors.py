"""Every way to fail: one message on stderr, nothing on stdout, and the right exit code."""

import os
import signal
import subprocess
import sys

import pytest

from mlopt.errors import ConfigError, DataError, UnavailableError, WorkerError


def failing_with(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("mlopt.yaml: wrong. Mend it."), 2),
        (DataError("data.selection is empty."), 2),
        (UnavailableError("no cuda here."), 2),
        (WorkerError("the worker died."), 1),
    ],
)
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_an_mlopt_error_is_one_message_and_its_own_exit_code(
    fake_api, mlopt_command, error, code, json
):
    fake_api.optimize = failing_with(error)
    assert mlopt_command("optimize", *json) == (code, "", f"error: {error}\n")


def test_several_mistakes_keep_a_line_each(fake_api, mlopt_command):
    fake_api.optimize = failing_with(ConfigError("first\nsecond"))
    assert mlopt_command("optimize") == (2, "", "error: first\nsecond\n")


def test_a_long_message_is_not_folded(fake_api, mlopt_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    fake_api.optimize = failing_with(ConfigError("[red]word[/red] " * 30))
    _, _, err = mlopt_command("optimize")
    assert err == "error: " + "[red]word[/red] " * 30 + "\n"


def test_an_unexpected_error_asks_for_a_report_and_hides_the_traceback(fake_api, mlopt_command):
    fake_api.optimize = failing_with(KeyError("x"))
    code, out, err = mlopt_command("optimize")
    assert (code, out) == (1, "")
    assert err.startswith("internal error: KeyError: 'x'\n")
    assert "run again with --debug and report it" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [KeyError("x"), ConfigError("x")])
def test_debug_shows_the_traceback(fake_api, mlopt_command, monkeypatch, error):
    fake_api.optimize = failing_with(error)
    assert "Traceback" in mlopt_command("optimize", "--debug")[2]
    monkeypatch.setenv("MLOPT_DEBUG", "1")
    assert "Traceback" in mlopt_command("optimize")[2]


def test_ctrl_c_exits_with_130(fake_api, mlopt_command):
    fake_api.optimize = failing_with(KeyboardInterrupt())
    assert mlopt_command("optimize") == (130, "", "interrupted\n")


def test_sigterm_is_an_interrupt_as_well(fake_api, mlopt_command):
    seen = []

    def optimize(*args, **kwargs):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            seen.append("interrupt")
            raise

    before = signal.getsignal(signal.SIGTERM)
    fake_api.optimize = optimize
    assert mlopt_command("optimize")[0] == 130
    assert seen == ["interrupt"]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["optimize", "--seed", "x"], ["--seed", "integer"]),
        (["optimize", "--batch-size", "0"], ["--batch-size", "1"]),
        (["optimize", "--max-drop", "-1"], ["--max-drop", "above 0"]),
        (["optimize", "--max-drop", "nan"], ["--max-drop", "above 0"]),
        (["optimize", "--time-limit", "5x"], ["--time-limit", "90s, 5m or 1h"]),
        (["optimize", "--time-limit", "0"], ["--time-limit", "more than 0"]),
        (["optimize", "--dry-run", "--resume", "run"], ["leave --resume out"]),
        (["optimize", "--bogus"], ["--bogus"]),
        (["optimise"], ["No such command", "optimise"]),
        (["profile"], ["Missing argument"]),
        (["schema", "plan"], ["project", "recipe", "run"]),
        (["cache", "prune", "--older-than", "-1"], ["--older-than"]),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(mlopt_command, arguments, words):
    code, out, err = mlopt_command(*arguments)
    assert (code, out) == (2, "")
    assert err.count("error:") == 1
    assert "Value error" not in err
    for word in words:
        assert word in err
    assert "--help'." in err


def test_a_wrong_environment_variable_is_named(mlopt_command, monkeypatch):
    monkeypatch.setenv("MLOPT_SEED", "x")
    code, _, err = mlopt_command("optimize")
    assert code == 2
    assert "MLOPT_SEED" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows reports a closed pipe in another way")
@pytest.mark.parametrize("arguments", [["recipes"], ["schema", "run"], ["recipes", "--json"]])
def test_a_reader_that_has_gone_away_is_no_error(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        command = [sys.executable, "-m", "mlopt", *arguments]
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")

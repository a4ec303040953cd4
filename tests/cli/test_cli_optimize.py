"""``mlopt optimize``: what it asks of the API, and what it shows."""

import json
from pathlib import Path

import pytest

from mlopt.types.events import Event


@pytest.fixture
def asked(fake_api, outcome, plan):
    """The arguments of the last call, of ``optimize`` or of ``plan``."""
    seen = {}

    def answer(result):
        def call(project, **options):
            seen.clear()
            seen.update(options, project=project)
            options["on_event"](Event(phase="build", message="building"))
            print("a library talks on stdout")
            return result

        return call

    fake_api.optimize = answer(outcome)
    fake_api.plan = answer(plan)
    return seen


def test_defaults_are_those_of_the_api(mlopt_command, asked):
    mlopt_command("optimize")
    del asked["on_event"]
    assert asked == {
        "project": Path(),
        "out": None,
        "recipes": (),
        "providers": (),
        "budget": (),
        "max_drop": None,
        "batch_sizes": (),
        "seed": 0,
        "time_limit_s": None,
        "allow_fallback": False,
        "use_cache": True,
        "keep_predictions": True,
        "resume": None,
    }


def test_every_option_reaches_the_api(mlopt_command, asked):
    words = "optimize here --out o -r fp32 --recipe a.yaml -p cpu -p cuda -b p99<5ms -b size<1MB"
    words += " --max-drop 0.01 --batch-size 1 --batch-size 8 --time-limit 5m --resume run"
    words += " --seed 3 --allow-fallback --no-cache --no-predictions"
    mlopt_command(*words.split())
    del asked["on_event"]
    assert asked == {
        "project": Path("here"),
        "out": Path("o"),
        "recipes": ["fp32", "a.yaml"],
        "providers": ["cpu", "cuda"],
        "budget": ["p99<5ms", "size<1MB"],
        "max_drop": 0.01,
        "batch_sizes": [1, 8],
        "seed": 3,
        "time_limit_s": 300.0,
        "allow_fallback": True,
        "use_cache": False,
        "keep_predictions": False,
        "resume": Path("run"),
    }


def test_environment_variables_count_and_options_beat_them(mlopt_command, asked, monkeypatch):
    for name, value in {"SEED": "5", "OUT": "o", "PROVIDER": "cpu cuda", "NO_CACHE": "1"}.items():
        monkeypatch.setenv(f"MLOPT_{name}", value)
    mlopt_command("optimize", "--out", "other")
    assert (asked["seed"], asked["out"]) == (5, Path("other"))
    assert (list(asked["providers"]), asked["use_cache"]) == (["cpu", "cuda"], False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("2 min", 120)]
)
def test_a_time_limit_has_a_unit_or_is_in_seconds(mlopt_command, asked, text, seconds):
    mlopt_command("optimize", "--time-limit", text)
    assert asked["time_limit_s"] == seconds


def test_summary_has_candidates_decision_verdicts_and_the_report(mlopt_command, asked):
    code, out, err = mlopt_command("optimize")
    assert code == 0
    assert "int8 @ cpu" in out
    assert "We ship int8 [minmax]: 2.4x faster at p50 than fp32." in out
    assert "PASS  p99 <= 5 ms: 0.9 ms (0.8 ms to 1 ms)" in out
    assert out.rstrip().endswith("adr.md")
    assert "a library talks" not in out
    assert "a library talks" in err


def test_path_of_the_report_is_relative_to_the_current_directory(
    mlopt_command, asked, outcome, monkeypatch
):
    monkeypatch.chdir(outcome.run_dir.parent)
    assert mlopt_command("optimize")[1].splitlines()[-1] == str(Path("run", "adr.md"))


@pytest.mark.parametrize("columns", [80, 40])
def test_nothing_is_lost_on_a_narrow_terminal(mlopt_command, asked, monkeypatch, columns, outcome):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(outcome.run_dir.parent)
    _, out, _ = mlopt_command("optimize")
    assert max(len(line) for line in out.splitlines()) <= columns
    assert "…" not in out
    squeezed = out.replace("\n", "").replace(" ", "")
    assert "fasteratp50thanfp32" in squeezed


@pytest.mark.parametrize("code", [0, 3, 4, 130])
def test_the_exit_code_is_that_of_the_run(mlopt_command, fake_api, outcome, code):
    fake_api.optimize = lambda project, **options: outcome._replace(exit_code=code)
    found, out, err = mlopt_command("optimize")
    assert found == code
    assert "adr.md" in out
    assert ("interrupted" in err) == (code == 130)


def test_a_run_without_a_decision_is_shown(mlopt_command, fake_api, outcome, tmp_path):
    run = outcome.run.model_copy(
        update={"decision": None, "status": "interrupted", "partial": "interrupted in build"}
    )
    partial = outcome._replace(run=run, rows=[], exit_code=130, run_dir=tmp_path / "bare")
    fake_api.optimize = lambda project, **options: partial
    code, out, _ = mlopt_command("optimize")
    assert code == 130
    assert "partial: interrupted in build" in out
    assert out.rstrip().endswith("bare")


@pytest.mark.parametrize("more", [(), ("--quiet",), ("--dry-run",), ("--dry-run", "--quiet")])
def test_json_is_exactly_one_document_on_stdout(mlopt_command, asked, more):
    code, out, _ = mlopt_command("optimize", "--json", *more)
    assert code == 0
    assert json.loads(out)["schema_version"] == 1


def test_json_keeps_the_exit_code(mlopt_command, fake_api, outcome):
    fake_api.optimize = lambda project, **options: outcome._replace(exit_code=4)
    code, out, _ = mlopt_command("optimize", "--json")
    assert code == 4
    assert json.loads(out)


def test_quiet_shows_warnings_only(mlopt_command, fake_api, outcome):
    def optimize(project, *, on_event, **options):
        on_event(Event(phase="build", message="building"))
        on_event(Event(phase="time", message="the machine is busy", level="warning"))
        return outcome

    fake_api.optimize = optimize
    expected = (0, "", "warning: the machine is busy\n")
    assert mlopt_command("optimize", "--quiet") == expected


def test_dry_run_shows_the_plan_and_candidates_share_steps(mlopt_command, asked):
    code, out, _ = mlopt_command("optimize", "--dry-run")
    assert code == 0
    assert "resume" not in asked
    assert out.count("export_onnx") == 1
    for words in (
        "plan of digits",
        "holdout: 900 examples, 2 of them duplicates",
        "p99 <= 5 ms",
        "may drop by at most 0.001; the holdout can exclude a loss of 0.0043 at best",
        "bring more holdout examples",
        "f1: reported, does not decide",
        "int8_static calibration=minmax",
        "int8 [minmax] (onnxruntime on cpu)",
        "fp32 (onnxruntime on cpu, baseline)",
        "batch-1",
        "5 launches of 48 rounds",
        "seed 7",
        "at most 1m 30s in all",
        "the fastest of those that pass",
        "a note",
    ):
        assert words in out


def test_dry_run_fits_a_narrow_terminal(mlopt_command, asked, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = mlopt_command("optimize", "--dry-run")
    assert max(len(line) for line in out.splitlines()) <= 80

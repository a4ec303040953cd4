"""The other commands: what they ask of the API, and what they show."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from mlopt.project import load_project


class ProfileRow(NamedTuple):
    provider: str = "cpu"
    batch: str = "1"
    p50: str = "1.2"
    p90: str = "1.4"
    p99: str = ""
    mean: str = "1.3"
    cold_start: str = "80"
    rss: str = "100 MB"
    placement: str = "all on cpu"


class LoadRow(NamedTuple):
    provider: str = "cpu"
    batch: str = "1"
    loop: str = "open"
    callers: str = "2"
    rate: str = "300"
    throughput: str = "299"
    p50: str = "1.2 ms"
    p99: str = "queue grows"
    sustained: str = "no"


class Check(NamedTuple):
    name: str
    status: str
    detail: str


@pytest.fixture
def profile(fake_api):
    seen = {}

    def call(model, **options):
        seen.update(options, model=model)
        return SimpleNamespace(
            rows=[ProfileRow()],
            load_rows=[LoadRow()] if options["load"] else [],
            notes=["synthetic inputs [uniform]"],
            exit_code=0,
            document=lambda: {"rows": 1},
        )

    fake_api.profile = call
    return seen


def test_profile_passes_its_options_on(mlopt_command, profile):
    words = "profile m.onnx -p cpu --batch-size 8 --data d.npz --launches 2 --rounds 3 --seed 4"
    code, out, _ = mlopt_command(*words.split(), "--time-limit", "1m")
    assert code == 0
    del profile["on_event"]
    assert profile == {
        "model": "m.onnx",
        "providers": ["cpu"],
        "batch_sizes": [8],
        "data": Path("d.npz"),
        "seed": 4,
        "launches": 2,
        "rounds": 3,
        "time_limit_s": 60.0,
        "load": False,
        "callers": (),
        "rates": (),
        "p99": None,
        "target_qps": None,
        "headroom": None,
        "seconds": None,
    }
    assert "all on cpu" in out
    assert "synthetic inputs [uniform]" in out


def test_profile_passes_on_what_is_asked_about_load(mlopt_command, profile):
    words = (
        "profile m.onnx --load --callers 1 --callers 4 --rate 300 --target-qps 900 --headroom 0.5"
    )
    code, out, _ = mlopt_command(*words.split(), "--p99", "5 ms", "--seconds", "3")
    assert code == 0
    asked = ("load", "callers", "rates", "p99", "target_qps", "headroom", "seconds")
    assert [profile[name] for name in asked] == [True, [1, 4], [300.0], "5 ms", 900.0, 0.5, 3.0]
    assert "throughput, /s" in out
    assert "queue grows" in out


def test_profile_leaves_out_columns_without_a_value(mlopt_command, profile):
    _, out, _ = mlopt_command("profile", "m.onnx")
    assert "p90" in out
    assert "p99" not in out


def test_profile_prints_json(mlopt_command, profile):
    assert json.loads(mlopt_command("profile", "m.onnx", "--json")[1]) == {"rows": 1}


def test_report_prints_where_the_report_is(mlopt_command, fake_api, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_api.render_report = lambda run_dir: tmp_path / run_dir / "adr.md"
    assert mlopt_command("report", "run") == (0, str(Path("run", "adr.md")) + "\n", "")


def test_doctor_shows_the_machine_and_the_checks(mlopt_command, fake_api, environment):
    checks = [Check("onnxruntime", "ok", "1.24"), Check("cuda", "missing", "pip install it")]
    asked = []
    report = SimpleNamespace(
        environment=environment,
        checks=checks,
        noise=["A model against itself", "in 20 s: 1.5%"],
        document=lambda: {"checks": 2},
    )

    def call(*, seconds, on_event):
        asked.append(seconds)
        return report

    fake_api.doctor = call
    code, out, _ = mlopt_command("doctor")
    assert code == 0
    assert out.endswith("A model against itself\nin 20 s: 1.5%\n")
    for words in ("A processor", "2 of 64", "8.0 GB", "torch 2.9.0", "missing", "pip install it"):
        assert words in out
    assert json.loads(mlopt_command("doctor", "--json", "--no-noise")[1]) == {"checks": 2}
    mlopt_command("doctor", "--seconds", "1m")
    assert asked == [20.0, None, 60.0]
    assert mlopt_command("doctor", "--seconds", "soon")[0] == 2


def test_recipes_are_listed_with_those_of_the_project_here(mlopt_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = mlopt_command("recipes")
    assert "fp32" in out
    (tmp_path / "mlopt.yaml").write_text("")
    (tmp_path / "recipes").mkdir()
    recipe = "name: mine\nsummary: s\nwhen: w\nsteps: [{pass: export_onnx}]\n"
    (tmp_path / "recipes" / "mine.yaml").write_text(recipe)
    assert "mine (of this project)" in mlopt_command("recipes")[1]
    listed = json.loads(mlopt_command("recipes", "--json")[1])["recipes"]
    assert {one["name"]: one["built_in"] for one in listed}["mine"] is False
    assert mlopt_command("recipes", "show", "mine") == (0, recipe, "")


def test_recipes_are_validated(mlopt_command, tmp_path):
    good = tmp_path / "good.yaml"
    good.write_text("name: good\nsummary: s\nwhen: w\nsteps: [{pass: export_onnx}]\n")
    assert mlopt_command("recipes", "validate", good) == (0, "good: ok\n", "")
    good.write_text("name: good\nsummary: s\nwhen: w\nsteps: [{pass: export_onxn}]\n")
    code, out, err = mlopt_command("recipes", "validate", good)
    assert (code, out) == (2, "")
    assert "Did you mean 'export_onnx'?" in err


def test_an_unknown_recipe_is_refused_with_a_near_match(mlopt_command):
    code, out, err = mlopt_command("recipes", "show", "fp23")
    assert (code, out) == (2, "")
    assert "Did you mean 'fp32'?" in err


@pytest.mark.parametrize("name", ["project", "recipe", "run"])
def test_schemas_are_printed_as_json(mlopt_command, name):
    code, out, err = mlopt_command("schema", name)
    assert (code, err) == (0, "")
    assert json.loads(out)["type"] == "object"


def test_init_writes_a_project_and_says_where(mlopt_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = mlopt_command("init", "new")
    assert (code, out) == (0, str(Path("new", "mlopt.yaml")) + "\n")
    assert "mlopt optimize new --dry-run" in err
    (tmp_path / "new" / "weights.safetensors").write_bytes(b"")
    (tmp_path / "new" / "model.py").write_text("def build(): ...\n")
    (tmp_path / "new" / "data.py").write_text("def selection(): ...\ndef holdout(): ...\n")
    assert load_project(tmp_path / "new").project.name == "new"
    code, out, err = mlopt_command("init", "new")
    assert (code, out) == (2, "")
    assert "--force" in err
    assert mlopt_command("init", "new", "--force", "--onnx", "m.onnx")[0] == 0
    assert '"../m.onnx"' in (tmp_path / "new" / "mlopt.yaml").read_text()


@pytest.fixture
def entry(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPT_CACHE_DIR", str(tmp_path))
    place = tmp_path / "artifacts" / "ab" / "abcdef"
    place.mkdir(parents=True)
    (place / "file").write_bytes(bytes(2000))
    return place


def test_cache_shows_place_size_and_entries(mlopt_command, entry, tmp_path):
    code, out, _ = mlopt_command("cache")
    assert code == 0
    assert out.startswith(f"{tmp_path}: 1 entry, 2 kB\n")
    assert "abcdef" in out
    assert "within the hour" in out
    assert json.loads(mlopt_command("cache", "--json")[1])["size_bytes"] == 2000


def test_cache_is_pruned(mlopt_command, entry):
    assert mlopt_command("cache", "prune", "--older-than", "1", "--yes")[1] == (
        "removed 0 entries, 0 B\n"
    )
    assert entry.is_dir()
    assert mlopt_command("cache", "prune", "--all", "-y")[1] == "removed 1 entry, 2 kB\n"
    assert not entry.is_dir()


def test_pruning_asks_first(mlopt_command, entry, monkeypatch):
    monkeypatch.setattr("mlopt.cli.cache.sys.stdin.isatty", lambda: True, raising=False)
    answers = iter([False, True])
    questions = []

    def confirm(question, **options):
        questions.append(question)
        return next(answers)

    monkeypatch.setattr("typer.confirm", confirm)
    arguments = ("cache", "prune", "--older-than", "0", "--max-size", "0")
    assert mlopt_command(*arguments)[1] == "nothing was removed\n"
    assert entry.is_dir()
    assert mlopt_command(*arguments)[1] == "removed 1 entry, 2 kB\n"
    assert "unused for 0 days and the oldest entries beyond 0 MB" in questions[0]


def test_pruning_without_a_terminal_needs_yes(mlopt_command, entry):
    code, _, err = mlopt_command("cache", "prune", "--all")
    assert code == 2
    assert "--yes" in err
    assert entry.is_dir()


def test_pruning_without_saying_what_is_wrong_usage(mlopt_command, entry):
    code, _, err = mlopt_command("cache", "prune", "--yes")
    assert code == 2
    assert "--older-than DAYS, --max-size MB or --all" in err

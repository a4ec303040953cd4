"""``compare`` and ``gate`` on a small ONNX project, from the names to the files that CI reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml

from mlopt import api
from mlopt.api import _gate
from mlopt.api._compare import speed_sentence
from mlopt.cli.app import main
from mlopt.errors import ConfigError, DataError, MloptError, ModelError
from mlopt.pipeline import gate_timing
from mlopt.pipeline.contest import Contest
from mlopt.types.estimate import Estimate

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))
from gate_cases import contest_of
from linear_project import FEATURES, QUICK, write_onnx, write_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project that ships ``new.onnx``, beside ``old.onnx`` and one that answers wrong."""
    monkeypatch.chdir(tmp_path)
    for variable in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(variable, raising=False)
    schedule = QUICK | {"most_launches": 1}
    directory = write_project(tmp_path / "project", ship="new.onnx", measurement=schedule)
    for name, seed in {"new": 0, "old": 0, "wrong": 7}.items():
        write_onnx(directory / f"{name}.onnx", seed)
    return directory


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (Estimate(value=0.7, low=0.685, high=0.715), "B is 1.43x faster at p50 (1.40 to 1.46)."),
        (Estimate(value=1.25, low=1.2, high=1.3), "B is 1.25x slower at p50 (1.20 to 1.30)."),
        (Estimate(value=1.0, low=0.99, high=1.012), "no difference can be told"),
        (Estimate(value=0.5), "has no interval"),
    ],
)
def test_a_difference_is_claimed_only_where_the_interval_excludes_none(
    ratio: Estimate, words: str
) -> None:
    assert words in speed_sentence(ratio)


def test_compare_says_all_that_was_seen_of_both(project: Path) -> None:
    found = api.compare(
        "project/old.onnx", "project/wrong.onnx", project=project, max_seconds=120, launches=1
    )
    document = found.document()
    assert set(document) == {
        "schema_version", "a", "b", "batch_size", "synthetic_inputs", "p50_ratio", "p50_ratio_ci",
        "p99_ratio", "p99_ratio_ci", "metrics", "flip_rate", "launches", "rounds", "samples",
        "stopped_because", "warnings",
    }  # fmt: skip
    assert document["a"]["name"] == "project/old.onnx"
    assert document["p50_ratio"] > 0
    low, high = document["p50_ratio_ci"]
    assert low <= document["p50_ratio"] <= high
    assert document["samples"] > 0
    assert document["synthetic_inputs"] is False
    (metric,) = document["metrics"]
    assert metric["a"] == 1.0
    assert metric["b"] < 0.8
    assert metric["delta_ci"][1] < 0
    assert {row.quantity for row in found.rows} >= {"p50, ms", "p99, ms", "size", "accuracy"}


def twice_as_fast(*_: object) -> Contest:
    return contest_of(Estimate(value=0.5, low=0.49, high=0.51), "PASS")


def test_compare_needs_no_project_and_says_where_inputs_are_synthetic(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlopt.pipeline.compare.contest", twice_as_fast)
    pair = ("project/old.onnx", "project/old.onnx@cpu")
    found = api.compare(*pair)
    assert found.sentence == "B is 2.00x faster at p50 (1.96 to 2.04)."
    assert found.document()["metrics"] is None
    assert found.document()["synthetic_inputs"] is True
    assert "synthetic" in found.notes[1]
    assert api.compare(*pair, data=project / "holdout.npz").warnings == [
        "A: one thing",
        "B: another",
    ]


def test_what_became_fast_by_becoming_wrong_fails_and_ci_can_read_why(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(gate_timing, "contest", twice_as_fast)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    words = "gate project --candidate project/wrong.onnx --reference project/old.onnx --quiet"
    code = main([*words.split(), "--max-seconds", "6", "--junit", "out/gate.xml", "-b", "size<1MB"])
    out, err = capsys.readouterr()
    assert code == 3, err
    suite = ET.parse(tmp_path / "out" / "gate.xml").getroot()[0]  # it is our own
    failed = [str(case.get("name")) for case in suite if case.find("failure") is not None]
    assert "accuracy drops by less than 0.2 (against the baseline fp32)" in failed
    assert "accuracy drops by less than 0.2 (against the reference project/old.onnx)" in failed
    assert len(failed) == 2
    assert any(line.startswith("::error title=linear%3A accuracy") for line in out.splitlines())
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("before\n## mlopt gate: linear\n")
    assert "| ❌ FAIL" in summary


def test_without_a_reference_the_baseline_is_timed_and_no_ratio_is_gated(project: Path) -> None:
    found = api.gate(project, max_seconds=120, budget=["p50 <= 1 s"])
    assert found.exit_code == 0, found.sentence
    assert [(line.subject, line.outcome) for line in found.report.lines] == [
        ("budget", "PASS"),
        ("accuracy", "PASS"),
    ]
    assert found.report.reference is None
    assert found.report.timing.against == "fp32"
    assert found.annotations == []
    assert found.document()["verdict"] == "PASS"


def test_a_model_that_answers_nan_fails_the_gate_and_the_reference_that_does_is_an_error(
    project: Path, tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(project / "new.onnx")
    weights = np.full((FEATURES, 3), np.nan, np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    onnx.save(model, project / "nan.onnx")
    junit = tmp_path / "gate.xml"
    found = api.gate(project, candidate="project/nan.onnx", max_seconds=6, junit=junit)
    assert found.exit_code == 3
    assert "output 'logits' is NaN for real examples" in found.sentence
    (case,) = ET.parse(junit).getroot().iter("testcase")  # it is our own
    assert (case.get("name"), case[0].tag) == ("it runs", "failure")
    with pytest.raises(ModelError, match=r"'project/nan\.onnx': .* is NaN"):
        api.gate(project, reference="project/nan.onnx", max_seconds=6, junit=junit)
    assert not junit.exists()


def test_a_damaged_file_that_ships_fails_the_gate(project: Path) -> None:
    (project / "notes.onnx").write_text("no model")
    found = api.gate(project, candidate="project/notes.onnx", reference="project/old.onnx")
    assert found.exit_code == 3
    assert "is cut short or is no ONNX model" in found.rows[0].observed
    assert found.document()["timing"] is None


def changed(project: Path, **keys: object) -> None:
    file = project / "mlopt.yaml"
    content = yaml.safe_load(file.read_text()) | keys
    file.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))


def other_inputs(path: Path) -> None:
    import onnx

    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = FEATURES + 1
    weights = np.zeros((FEATURES + 1, 3), np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    onnx.save(model, path)


def test_a_gate_with_nothing_to_check_is_refused(project: Path) -> None:
    changed(project, ship=None)
    with pytest.raises(ConfigError, match="does not say what ships"):
        api.gate(project)
    changed(project, ship="new.onnx", metrics=[{"name": "accuracy"}])
    with pytest.raises(ConfigError, match="there is nothing to gate"):
        api.gate(project)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidate": "nowhere.onnx"}, "no file or directory 'nowhere.onnx'"),
        ({"reference": "nowhere"}, "no file or directory 'nowhere'"),
        ({"tolerance": 1.5}, "--tolerance must lie between 0 and 1"),
        ({"max_seconds": -1}, "--max-seconds must be positive"),
        ({"budget": ["p98 < 1 ms"]}, "Did you mean"),
        ({"junit": Path("project")}, "cannot write --junit"),
    ],
)
def test_mistakes_are_found_before_anything_is_built(
    project: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        api.gate(project, **options)  # type: ignore[arg-type]


def test_what_is_no_model_or_takes_other_inputs_is_refused_in_one_message(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "notes.onnx").write_text("no model")
    other_inputs(project / "wrong.onnx")
    for reference, words in {
        "project/notes.onnx": "'project/notes.onnx': notes.onnx is cut short or is no ONNX model",
        "project/wrong.onnx": "takes features: float32(batch, 9), and",
    }.items():
        assert main(["gate", "project", "--reference", reference, "--quiet"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("error:") == 1
        assert words in err


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"b": "nowhere.onnx"}, ConfigError, "no file or directory"),
        ({"data": Path("d.npz"), "project": Path("project")}, ConfigError, "give one of them"),
        ({"data": Path("d.npz")}, ConfigError, "no file 'd.npz'"),
        ({"data": Path("project/bad.npz")}, DataError, "no array for the input features"),
        ({"launches": 0}, ConfigError, "--launches must be positive"),
        ({"b": "project"}, ConfigError, "holds no artifact"),
        ({"b": "project/fixed.onnx"}, ConfigError, "set --batch-size to 2"),
        ({"b": "project/renamed.onnx"}, ModelError, "must answer the same inputs"),
    ],
)
def test_compare_refuses_what_cannot_stand_side_by_side(
    project: Path, options: dict[str, object], kind: type[MloptError], message: str
) -> None:
    import onnx

    np.savez(project / "bad.npz", other=np.zeros((4, FEATURES), np.float32))
    model = onnx.load(project / "new.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, project / "fixed.onnx")
    model.graph.input[0].name = model.graph.node[0].input[0] = "other"
    onnx.save(model, project / "renamed.onnx")
    given = {"a": "project/old.onnx", "b": "project/new.onnx", **options}
    with pytest.raises(kind, match=message):
        api.compare(**given)  # type: ignore[arg-type]


def test_a_gate_that_ends_by_an_error_leaves_no_file_of_yesterday(
    project: Path, tmp_path: Path
) -> None:
    junit = tmp_path / "gate.xml"
    junit.write_text("all green")
    with pytest.raises(MloptError):
        api.gate(tmp_path / "nowhere", junit=junit)
    assert not junit.exists()


class Floor:
    def smallest_change(self, seconds: float, **_: object) -> float:
        return 0.03 if seconds >= 20 else float("inf")


@pytest.mark.parametrize(
    ("tolerance", "seconds", "words"),
    [(0.02, 60.0, "can tell 3% and more"), (0.02, 5.0, "no change at all"), (0.04, 60.0, None)],
)
def test_a_tolerance_finer_than_the_noise_floor_is_warned_about(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    tolerance: float,
    seconds: float,
    words: str | None,
) -> None:
    seen = []

    def stop(request: _gate.GateRequest, *_: object) -> None:
        seen.extend(_gate._noise_warnings(request))
        raise ConfigError("far enough")

    monkeypatch.setattr(_gate, "stored_noise_floor", Floor)
    monkeypatch.setattr(_gate, "check_gate", stop)
    with pytest.raises(ConfigError, match="far enough"):
        api.gate(project, reference="project/old.onnx", tolerance=tolerance, max_seconds=seconds)
    assert [words in one for one in seen if words] == ([True] if words else [])
    assert len(seen) == (0 if words is None else 1)

"""A stored run agrees with its samples, and whatever is changed in it is named."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from linear_project import write_project
from tampering import TAMPERINGS, Tampering, of_run, set_to, text_changed

from mlopt import api
from mlopt.decision.dominance import reason_to_leave
from mlopt.errors import ConfigError, RunError
from mlopt.evaluation.comparison import compare
from mlopt.profiling.samples import Samples
from mlopt.store.hashing import sha256_file
from mlopt.store.rundir import RunDirectory

OWN = """\
def half_right(outputs, targets):
    return float((outputs.argmax(axis=1) == targets)[::2].mean())


def first_is_positive(inputs, targets):
    return inputs["features"][:, 0] > 0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project with a metric and a slice of its own, and a run of it."""
    base = tmp_path_factory.mktemp("verified")
    project = write_project(
        base / "project",
        recipes=["fp32", "int8-dynamic"],
        metrics=[
            {"name": "accuracy", "max_drop": 0.01},
            {"name": "half", "function": "own:half_right", "direction": "higher"},
        ],
        slices=[{"name": "positive", "function": "own:first_is_positive"}],
        budget=["p50 <= 4 s", "size <= 1 MB"],
        measurement={"launches": 2, "most_launches": 2, "rounds": 3, "block_ms": 1},
    )
    (project / "own.py").write_text(OWN)
    return project, api.optimize(project, out=base / "reports").run_dir


@pytest.fixture
def run_dir(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / "run"))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares answers in this process: starting one for each test takes longer than all else."""

    def run(target: str, arguments: dict[str, Any], *_: object) -> Any:
        assert target == "mlopt.evaluation.comparison:compare"
        return compare(**arguments)

    monkeypatch.setattr("mlopt.pipeline.rescore.run_task", run)


@pytest.fixture
def plots_as_made(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws no plot again, which takes longer than to recompute all numbers."""
    drawn = {path.name: path.read_bytes() for path in (made[1] / "plots").iterdir()}
    monkeypatch.setattr("mlopt.report.verify.draw_plots", lambda *_: drawn)


def test_a_run_that_nobody_touched_agrees_and_says_what_was_not_looked_at(run_dir: Path) -> None:
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}

    found = api.verify(run_dir)

    assert found.mismatches == ()
    assert found.exit_code == 0
    assert found.checked.numbers > 100
    assert found.checked.lines == len((run_dir / "adr.md").read_text().splitlines())
    gaps = {gap.what: gap.reason for gap in found.unverified}
    assert "needs --project" in gaps["run.json /candidates/*/selection/quality/metrics/*"]
    assert "run.json /started_at" in gaps
    assert "run.json /seconds" in gaps
    assert "run.json /environment" in gaps
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before


def test_the_project_verifies_its_own_metrics_and_the_hashes_of_its_data(
    made: tuple[Path, Path], run_dir: Path
) -> None:
    set_to("/candidates/1/selection/quality/metrics/1/delta/low", lambda v: v - 0.01)(run_dir)

    without = api.verify(run_dir)
    found = api.verify(run_dir, project=made[0])

    where = "/candidates/1/selection/quality/metrics/1/delta/low"
    assert where not in [one.place for one in without.mismatches]
    assert where in [one.place for one in found.mismatches]
    assert not [gap for gap in found.unverified if "--project" in gap.reason]


@pytest.mark.usefixtures("in_process", "plots_as_made")
@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda one: one.name)
def test_what_was_changed_is_named(tampering: Tampering, run_dir: Path) -> None:
    tampering.apply(run_dir)

    found = api.verify(run_dir)

    assert found.exit_code == 3
    named = [(one.file, one.place) for one in found.mismatches]
    assert any(
        file == tampering.file and place.startswith(tampering.place) for file, place in named
    ), named


@pytest.mark.usefixtures("in_process")
def test_a_plot_of_other_samples_is_named(run_dir: Path) -> None:
    change = text_changed("plots/latency.svg", r"L (\d)\d", r"L \g<1>7")
    change(run_dir)

    assert [one.file for one in api.verify(run_dir).mismatches] == ["plots/latency.svg"]


@pytest.mark.usefixtures("in_process", "plots_as_made")
def test_one_number_is_one_mismatch_that_says_what_it_should_be(run_dir: Path) -> None:
    where = "/candidates/1/selection/measurements/0/p50_ms/value"
    stored = RunDirectory(run_dir).read_run().candidates[1].selection
    assert stored is not None
    set_to(where, 123.0)(run_dir)

    [found] = api.verify(run_dir).mismatches

    assert (found.file, found.place, found.about) == ("run.json", where, "int8-dynamic")
    assert found.says == "123.0"
    assert found.should == repr(stored.measurements[0].p50_ms.value)


@pytest.mark.usefixtures("in_process", "plots_as_made")
def test_a_field_that_nothing_recomputes_is_listed_and_not_passed_over(run_dir: Path) -> None:
    set_to("/candidates/1/selection/measurements/0/stopped_because", "it was enough")(run_dir)

    found = api.verify(run_dir)

    listed = [gap.what for gap in found.unverified]
    assert "run.json /candidates/*/selection/measurements/*/stopped_because" in listed


@pytest.mark.usefixtures("in_process", "plots_as_made")
@pytest.mark.parametrize(("slower", "is_named"), [(2.0, False), (1.0, True)])
def test_why_a_candidate_left_is_compared_with_the_samples_of_its_rival(
    run_dir: Path, slower: float, is_named: bool
) -> None:
    run = RunDirectory(run_dir).read_run()
    timed = [c.selection for c in run.candidates[:2] if c.selection is not None]
    for number, ns in enumerate((10**6, int(slower * 10**6))):
        samples = Samples()
        for launch, visit in itertools.product(range(3), range(6)):
            samples.add(launch, visit, [ns, ns + 10])
        stored = timed[number].measurements[0].samples
        written = samples.write(run_dir, stored.path).model_dump(mode="json")
        set_to(f"/candidates/{number}/selection/measurements/0/samples", written)(run_dir)
    where = "/candidates/1/selection"
    set_to("/candidates/1/size_bytes", run.candidates[0].size_bytes)(run_dir)
    set_to(f"{where}/quality/metrics/0/delta/value", -0.001)(run_dir)
    set_to(f"{where}/left_because", reason_to_leave(run.candidates[0].name))(run_dir)

    named = [one.place for one in api.verify(run_dir).mismatches]

    assert f"{where}/measurements/0/p50_ms/value" in named  # the samples were taken for evidence
    assert (f"{where}/left_because" in named) == is_named


def test_a_run_of_an_older_version_is_told_to_be_verified_by_that(run_dir: Path) -> None:
    set_to("/mlopt_version", "0.1.0")(run_dir)

    assert any("verify with mlopt 0.1.0" in note for note in api.verify(run_dir).changed)


def write_its_plan_again(run_dir: Path) -> None:
    """Makes plan.json, and the hash of it, that of the plan in run.json."""
    plan = json.loads((run_dir / "run.json").read_text())["plan"]
    (run_dir / "plan.json").write_text(json.dumps(plan))
    set_to("/plan_sha256", sha256_file(run_dir / "plan.json"))(run_dir)


@pytest.mark.usefixtures("in_process", "plots_as_made")
def test_a_decision_by_another_rule_is_not_judged_by_this_one(run_dir: Path) -> None:
    set_to("/plan/selection_rule", "the first")(run_dir)
    set_to("/decision/reason", "it was the first")(run_dir)
    write_its_plan_again(run_dir)

    found = api.verify(run_dir)

    reasons = {gap.what: gap.reason for gap in found.unverified}
    assert "another selection rule" in reasons["run.json /decision"]
    assert not [one for one in found.mismatches if one.file == "run.json"]


@pytest.mark.usefixtures("in_process", "plots_as_made")
def test_a_run_without_predictions_says_that_its_metrics_were_not_looked_at(run_dir: Path) -> None:
    for path in run_dir.glob("samples/*/*predictions.npz"):
        path.unlink()
    for path in (*run_dir.glob("samples/*/targets.npz"), *run_dir.glob("samples/*/members.npz")):
        path.unlink()

    def forget(run: dict[str, Any]) -> None:
        run["plan"]["keep_predictions"] = False
        for candidate in run["candidates"]:
            for evidence in (candidate["selection"], candidate["confirmation"]):
                if evidence is not None:
                    evidence["quality"] |= {"predictions": None, "members": None}

    of_run(forget)(run_dir)
    write_its_plan_again(run_dir)

    found = api.verify(run_dir)

    assert {one.file for one in found.mismatches} == {"adr.md"}  # it shows the hash of the plan
    reasons = {gap.reason for gap in found.unverified if "metrics" in gap.what}
    assert reasons == {"the run was made with --no-predictions"}


@pytest.mark.usefixtures("in_process", "plots_as_made")
def test_a_run_that_was_cut_off_is_verified_as_far_as_it_goes(run_dir: Path) -> None:
    def cut_off(run: dict[str, Any]) -> None:
        run |= {"status": "running", "decision": None, "finished_at": None}
        run["candidates"][0]["confirmation"] = None

    of_run(cut_off)(run_dir)
    (run_dir / "adr.md").unlink()
    shutil.rmtree(run_dir / "plots")
    (run_dir / "samples" / "confirmation.checkpoint.npz").write_bytes(b"")

    found = api.verify(run_dir)

    assert {one.file for one in found.mismatches} <= {"plots/latency.svg", "plots/tradeoff.svg"}
    assert found.checked.numbers > 50
    listed = {gap.what for gap in found.unverified}
    assert {"adr.md", "samples/confirmation.checkpoint.npz"} <= listed


def test_what_is_no_run_and_another_project_are_wrong_input(
    made: tuple[Path, Path], run_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="not the directory of a run"):
        api.verify(tmp_path)
    other = write_project(tmp_path / "other", name="another")
    with pytest.raises(ConfigError, match="the run is of 'linear'"):
        api.verify(run_dir, project=other)

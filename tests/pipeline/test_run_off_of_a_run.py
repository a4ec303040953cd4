"""A whole run in which the fastest are timed once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mlopt import api
from mlopt.pipeline import proposing
from mlopt.types.events import Event
from mlopt.types.measurement import Evidence
from mlopt.types.run import Run

pytestmark = pytest.mark.slow

RACE = {
    "name": "race",
    "summary": "a race",
    "when": "In tests.",
    "tries": ["fp32", "int8-dynamic", "int8-static"],
    "tune": {"graph_optimization": ["all"]},  # what everybody has
}
CONTENDERS = ("int8-dynamic", "fp32")


@pytest.fixture
def project(onnx_project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of so small a model any two may be the closest: these are, whatever was measured."""
    monkeypatch.setattr(proposing, "contenders", lambda *of: CONTENDERS)
    monkeypatch.setattr(proposing, "RUN_OFF_S", 20.0)
    directory = onnx_project(
        recipes=["race"],
        providers=["cpu"],
        measurement={"launches": 2, "most_launches": 2, "rounds": 4, "block_ms": 1},
    )
    (directory / "recipes").mkdir()
    (directory / "recipes" / "race.yaml").write_text(yaml.safe_dump(RACE))
    return directory


def selection(run: Run, name: str) -> Evidence:
    evidence = run.candidate(name).selection
    assert evidence is not None
    return evidence


def test_contenders_go_on_in_their_trial_and_nobody_else_does(
    project: Path, tmp_path: Path
) -> None:
    result = api.optimize(project, out=tmp_path / "reports")

    launches = {
        c.name: selection(result.run, c.name).measurements[0].launches
        for c in result.run.candidates
    }
    assert launches.pop("int8-static") <= 2
    assert launches["int8-dynamic"] > 2
    assert launches["fp32"] >= launches["int8-dynamic"]
    for name in CONTENDERS:
        (measured,) = selection(result.run, name).measurements
        assert measured.trial == "selection"
        assert "run-off" in measured.stopped_because
    assert result.run.plan.proposer.endswith("whose p50 cannot be told from the smallest")
    assert "run-off" in (result.run_dir / "adr.md").read_text("utf-8")
    assert api.verify(result.run_dir).mismatches == ()


def test_a_run_that_was_cut_off_in_its_run_off_goes_on_and_holds_one(
    project: Path, tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if event.phase == "time" and "p50 ratios of the fastest" in event.message:
            raise KeyboardInterrupt

    cut = api.optimize(project, out=tmp_path / "reports", on_event=interrupt)
    assert cut.run.status == "interrupted"

    result = api.optimize(project, resume=cut.run_dir)

    assert result.run.status == "complete"
    for name in CONTENDERS:
        assert "run-off" in selection(result.run, name).measurements[0].stopped_because
    assert not list(cut.run_dir.glob("samples/*.checkpoint.npz"))
    assert api.verify(cut.run_dir).mismatches == ()


def test_a_run_that_was_cut_off_after_its_run_off_holds_no_other(
    project: Path, tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if event.phase == "confirm":
            raise KeyboardInterrupt

    cut = api.optimize(project, out=tmp_path / "reports", on_event=interrupt)
    before = {name: selection(cut.run, name) for name in CONTENDERS}
    assert cut.run.status == "interrupted"

    result = api.optimize(project, resume=cut.run_dir)

    assert result.run.status == "complete"
    assert {name: selection(result.run, name) for name in CONTENDERS} == before
    assert {
        m.trial for c in result.run.candidates if c.selection for m in c.selection.measurements
    } == {"selection"}

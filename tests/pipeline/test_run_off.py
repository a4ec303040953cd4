"""A whole run in which the fastest are timed once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlopt import api, stats
from mlopt.pipeline import execute, proposing, timing
from mlopt.pipeline.checkpoint import Checkpoint
from mlopt.pipeline.ratios import p50_ratio_between
from mlopt.profiling.launch import Setting
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import confidence_of
from mlopt.profiling.trial import TrialEnd, run_trial
from mlopt.types.events import Event
from mlopt.types.measurement import Evidence
from mlopt.types.run import Failure, Run

pytestmark = pytest.mark.slow

RACE = {
    "name": "race",
    "summary": "a race",
    "when": "In tests.",
    "tries": ["fp32", "int8-dynamic"],
    "tune": {"graph_optimization": ["basic"]},
}
CONTENDERS = ("int8-dynamic[graph_optimization=basic]", "int8-dynamic")
LAUNCHES = 2


@pytest.fixture
def project(onnx_project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of so small a model any two may be the closest: these are, whatever was measured.

    One of them comes of a race of settings, which a run that goes on holds again.
    """
    monkeypatch.setattr(execute, "contenders", lambda *of: CONTENDERS)
    directory = onnx_project(
        recipes=["race"],
        providers=["cpu"],
        measurement={"launches": LAUNCHES, "most_launches": LAUNCHES, "rounds": 4, "block_ms": 1},
    )
    (directory / "recipes").mkdir()
    (directory / "recipes" / "race.yaml").write_text(yaml.safe_dump(RACE))
    return directory


def run_off(run: Run, name: str) -> Evidence:
    evidence = run.candidate(name).run_off
    assert evidence is not None
    return evidence


def has_one_run_off(run: Run, run_dir: Path) -> None:
    """Of the contenders and the baseline, in rounds that they share."""
    assert run.status == "complete"
    there = {c.name for c in run.candidates if c.run_off is not None}
    assert there == {"fp32", *CONTENDERS}
    rounds = []
    for name in there:
        (measured,) = run_off(run, name).measurements
        assert (measured.trial, measured.launches) == ("run_off", LAUNCHES)
        assert run_off(run, name).quality is None, "the answers are evidence of the selection"
        rounds.append(Samples.read(run_dir, measured.samples).block_medians().block_keys.tolist())
    assert rounds[0] == rounds[1] == rounds[2]
    raced = [
        Samples.read(run_dir, run_off(run, name).measurements[0].samples).block_medians()
        for name in CONTENDERS
    ]
    confidence = confidence_of(run.plan.schedule)
    of_the_run_off = stats.paired_p50_ratio(*raced, seed=run.plan.seed, confidence=confidence)
    assert p50_ratio_between(run, run_dir)(*CONTENDERS) == of_the_run_off
    assert run.decision is not None
    assert run.decision.chosen in there
    assert not list(run_dir.glob("samples/*.checkpoint.npz"))
    assert api.verify(run_dir).mismatches == ()


def test_the_closest_are_timed_anew_and_the_choice_is_between_them(
    project: Path, tmp_path: Path
) -> None:
    result = api.optimize(project, out=tmp_path / "reports")

    has_one_run_off(result.run, result.run_dir)
    assert "run-off" in result.run.plan.proposer
    adr = (result.run_dir / "adr.md").read_text("utf-8")
    assert "Latency in the run-off" in adr
    assert "The run-off stopped because: " in adr
    documents = {one["name"]: one["run_off"] for one in result.document()["candidates"]}
    assert documents["int8-dynamic"]["p50_ratio"] > 0
    assert documents["fp32[graph_optimization=basic]"] is None


def test_a_run_that_was_cut_off_in_its_run_off_goes_on_with_it_whoever_is_proposed_again(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event: Event) -> None:
        if event.message.startswith("run-off: launch 2 of"):
            raise KeyboardInterrupt

    cut = api.optimize(project, out=tmp_path / "reports", on_event=interrupt)
    assert cut.run.status == "interrupted"
    assert all(c.run_off is None for c in cut.run.candidates), "a single launch tells nothing"
    before = {c.name: c.selection for c in cut.run.candidates}
    checkpoint = Checkpoint(cut.run_dir / "samples" / "run_off.checkpoint.npz", "run_off").load()
    assert checkpoint is not None
    monkeypatch.setattr(proposing, "_tuning", lambda run: None)

    result = api.optimize(project, resume=cut.run_dir)

    has_one_run_off(result.run, result.run_dir)
    assert {c.name: c.selection for c in result.run.candidates} == before
    for name in CONTENDERS:
        first = checkpoint.observed[name].samples[1].ns
        kept = Samples.read(result.run_dir, run_off(result.run, name).measurements[0].samples)
        assert 0 < len(first) < len(kept)
        assert kept.ns[: len(first)].tolist() == first.tolist()


def test_a_run_that_was_cut_off_after_its_run_off_holds_no_other(
    project: Path, tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if event.phase == "confirm":
            raise KeyboardInterrupt

    cut = api.optimize(project, out=tmp_path / "reports", on_event=interrupt)
    before = {name: run_off(cut.run, name) for name in CONTENDERS}

    result = api.optimize(project, resume=cut.run_dir)

    has_one_run_off(result.run, result.run_dir)
    assert {name: run_off(result.run, name) for name in CONTENDERS} == before


@pytest.mark.parametrize("name", [CONTENDERS[1], "fp32"])
def test_a_run_off_that_somebody_falls_out_of_leaves_the_choice_to_the_race(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def falls_out(contestants: Any, setting: Setting, *args: Any, **more: Any) -> TrialEnd:
        end = run_trial(contestants, setting, *args, **more)
        if not setting.loading_counts:
            end.observed[name].failure = Failure(during="time", cause="it was killed")
        return end

    monkeypatch.setattr(timing, "run_trial", falls_out)

    result = api.optimize(project, out=tmp_path / "reports")

    assert result.run.status == "complete"
    assert all(c.run_off is None for c in result.run.candidates)
    assert (result.run.candidate(name).failure is None) == (name == "fp32")
    assert result.run.decision is not None
    assert result.run.decision.chosen not in {None, CONTENDERS[1] if name != "fp32" else None}
    assert api.verify(result.run_dir).mismatches == ()


def test_without_a_refinement_there_is_none(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "contenders", lambda *of: ("fp32", "int8-dynamic"))

    result = api.optimize(project, recipes=["int8-dynamic"], out=tmp_path / "reports")

    assert "run-off" not in result.run.plan.proposer
    assert result.run.status == "complete"
    assert all(c.run_off is None for c in result.run.candidates)

"""Reports of runs that did not go as planned, or that measure something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlopt.report import write_report
from mlopt.types.decision import Decision
from mlopt.types.estimate import Estimate
from mlopt.types.plan import Margin
from mlopt.types.run import CandidateResult, Failure, Run
from mlopt.types.workload import Workload

from .synthetic import (
    ACCURACY,
    STANDARD,
    Laboratory,
    Spec,
    around,
    make_plan,
    make_run,
    planned,
    replace,
    simple_run,
    store,
)

MAE = Margin(metric="mae", higher_is_better=False, max_drop=0.05, relative=True)
FP32 = Spec("fp32", 0.842, role="baseline")
WORSE = {"mae": Estimate(value=0.004, low=0.001, high=0.007)}
INT8 = Spec("int8", 0.3, 800_000, gained=3, lost=5, deltas=WORSE)


def text_of(run_dir: Path) -> str:
    text = write_report(run_dir).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert max(map(len, rows)) <= 120
    assert "None" not in text
    assert "nan" not in text.lower().split()
    assert "\n\n\n" not in text
    return text


def simple_text(run_dir: Path, *specs: Spec, winner: str | None = "int8", **options: Any) -> str:
    simple_run(run_dir, specs or (FP32, INT8), winner=winner, **options)
    return text_of(run_dir)


def test_without_a_budget_only_the_margins_decide(tmp_path: Path) -> None:
    text = simple_text(tmp_path, budget=())
    assert "No budget was set" in text
    assert "| candidate  | accuracy margin |" in text


def test_without_budget_and_margin_there_is_no_verdict_table(tmp_path: Path) -> None:
    free = ACCURACY.model_copy(update={"max_drop": None})
    text = simple_text(tmp_path, budget=(), margins=(free,))
    assert "judged on the selection" not in text
    assert "`accuracy` is reported and decides nothing." in text
    assert "# Ship `int8`" in text


def test_without_a_chosen_candidate_nothing_is_shipped(tmp_path: Path) -> None:
    text = simple_text(tmp_path, winner=None, budget=("p99 <= 0.1 ms",))
    assert "# Ship no candidate of `tiny-cnn`" in text
    assert "- Status: **FAIL**" in text
    assert "> We ship none of the candidates: no candidate may ship." in text
    assert "Choosing the best of many" not in text
    assert "### Consequences" not in text


def test_a_failed_confirmation_is_said_in_the_title(tmp_path: Path) -> None:
    text = simple_text(tmp_path, budget=("p99 <= 0.1 ms",))
    assert "# Do not ship `int8` as `tiny-cnn`: it fails the contract" in text
    assert "it fails `p99 <= 0.1 ms`" in text
    assert "There is no second choice in a run" in text


def test_an_open_verdict_says_what_would_settle_it(tmp_path: Path) -> None:
    text = simple_text(tmp_path, margins=(ACCURACY.model_copy(update={"max_drop": 0.002}),))
    assert "# Do not ship `int8` as `tiny-cnn` yet" in text
    assert "- Status: **INCONCLUSIVE**" in text
    assert "which is **more than the margin**" in text
    assert "would be settled by" in text


def test_a_failed_baseline_leaves_no_ratios(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path)
    failure = Failure(during="time", cause="killed: out of memory")
    broken = CandidateResult(plan=planned(FP32), status="failed", failure=failure)
    results = (broken, laboratory.result(INT8, compared=False))
    decision = Decision(chosen=None, outcome="FAIL", reason="the baseline failed")
    make_run(tmp_path, plan=make_plan((FP32, INT8)), candidates=results, decision=decision)
    text = text_of(tmp_path)
    assert "The baseline was not measured, so there are no ratios and no deltas" in text
    assert "`fp32`: failed while it was timed: killed: out of memory." in text
    assert "plots/latency.svg" in text
    assert "plots/tradeoff.svg" not in text


def test_several_batch_sizes_have_a_latency_table_each(tmp_path: Path) -> None:
    sizes = (Workload(), Workload(batch_size=8))
    text = simple_text(tmp_path, workloads=sizes, budget=("p99 <= 5 ms", "p50 <= 9 ms @ batch-8"))
    assert "**Latency, batch-1**" in text
    assert "**Latency, batch-8**" in text
    assert "p50 <= 9 ms @ batch-8" in text
    assert "| p50 ms, batch-8" in text


def test_inputs_that_stay_on_a_device_are_named(tmp_path: Path) -> None:
    on_gpu = Spec("int8@cuda-device", 0.3, 800_000, gained=3, lost=5, deltas=WORSE)
    text = simple_text(tmp_path, FP32, on_gpu, winner="int8@cuda-device")
    assert (
        "live on the host, but for `cuda-device` in the device's memory: no copy is in those times."
    ) in text
    copied = Spec("int8@cuda", 0.3, 800_000, gained=3, lost=5, deltas=WORSE)
    text = simple_text(tmp_path / "copied", FP32, copied, winner="int8@cuda")
    assert "Inputs and outputs live on the host. Visits" in text


def test_a_regression_metric_has_neither_flips_nor_errors_a_day(tmp_path: Path) -> None:
    text = simple_text(tmp_path, margins=(MAE,))
    assert "flipped" not in text
    assert "errors a day (" not in text
    assert "points" not in text


def test_a_metric_where_lower_is_better_may_rise(tmp_path: Path) -> None:
    text = simple_text(tmp_path, margins=(MAE,))
    assert "`mae` may rise by at most 5% of the baseline's value, that is 0.0206" in text
    assert "mae delta +0.0040 (+0.0010 to +0.0070) (lower is better) on 900 holdout" in text
    assert "Bad, because the mae delta is +0.0040" in text


def test_several_metrics_stand_in_a_table_apart_from_the_costs(tmp_path: Path) -> None:
    f1 = Margin(metric="f1", higher_is_better=True, max_drop=None)
    text = simple_text(tmp_path, margins=(ACCURACY, MAE, f1))
    assert "accuracy delta, points" in text
    assert "| f1 delta" in text
    assert "**Cost**" in text
    assert "`f1` is reported and decides nothing." in text


def test_an_upper_bound_of_p99_is_shown_as_one(tmp_path: Path) -> None:
    text = simple_text(tmp_path, support="upper_bound")
    assert "(upper bound)" in text
    assert "p99 below " in text


def test_too_few_samples_for_p99_are_said_so(tmp_path: Path) -> None:
    text = simple_text(tmp_path, support="insufficient")
    assert "not enough samples" in text
    assert "too little to say" in text


def test_a_baseline_that_wins_is_kept(tmp_path: Path) -> None:
    text = simple_text(tmp_path, winner="fp32", budget=("p99 <= 5 ms",))
    assert "# Keep `fp32` for `tiny-cnn`" in text
    assert "> We keep the baseline, `fp32`: p50 0." in text


def test_an_interrupted_run_shows_what_there_was(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path)
    results = (
        laboratory.result(FP32),
        CandidateResult(plan=planned(INT8), status="built", size_bytes=800_000),
        CandidateResult(plan=planned(Spec("int8-dynamic", 1.0)), status="planned"),
    )
    changes = {"status": "interrupted", "decision": None, "finished_at": None}
    make_run(tmp_path, candidates=results, partial="interrupted by the user", **changes)
    text = text_of(tmp_path)
    assert "# No decision for `tiny-cnn`: the run was interrupted" in text
    assert "- Status: **partial**: the run was interrupted; interrupted by the user" in text
    assert "`int8`: built, and not measured: the run ended before." in text
    assert "`int8-dynamic`: planned, and not measured: the run ended before." in text


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_run_without_any_measurement_has_a_report(tmp_path: Path, status: str) -> None:
    plans = tuple(CandidateResult(plan=planned(spec)) for spec in STANDARD)
    make_run(tmp_path, status=status, candidates=plans, decision=None, finished_at=None)
    text = text_of(tmp_path)
    assert "Nothing was measured." in text
    assert "# No decision for `tiny-cnn`" in text
    assert not (tmp_path / "plots").exists()


def test_a_complete_run_that_ran_out_of_time_is_partial(tmp_path: Path) -> None:
    make_run(tmp_path, partial="the time limit of 60 s was reached")
    text = text_of(tmp_path)
    assert "- Status: **partial**; the time limit of 60 s was reached; verdict PASS" in text


def test_a_fallback_counts_against_a_candidate(tmp_path: Path) -> None:
    run = simple_run(tmp_path, (FP32, INT8), winner="int8")
    nodes = {"OpenVINOExecutionProvider": 60, "CPUExecutionProvider": 14}
    fell = run.candidates[1].model_copy(update={"fell_back": True, "placement": {"nodes": nodes}})
    store(tmp_path, Run.model_validate(_dumped(run, fell)))
    text = text_of(tmp_path)
    assert "60 of 74 nodes (81%) on OpenVINOExecutionProvider" in text
    assert "**It fell back**" in text
    assert "Bad, because not all of it runs on `cpu`" in text


def test_many_budget_lines_are_divided_over_tables(tmp_path: Path) -> None:
    lines = ("p50 <= 1 ms", "p90 <= 2 ms", "p99 <= 5 ms", "size <= 1 MB", "rss <= 200 MB")
    text = simple_text(tmp_path, budget=(*lines, "cold_start <= 1 s"))
    assert text.count("| candidate  | p50 <= 1 ms") == 1
    assert "cold start <= 1 s | accuracy margin |" in text


def test_a_catastrophic_loss_does_not_flatten_the_plot(tmp_path: Path) -> None:
    ruined = replace(INT8, name="int8-ruined", lost=600, p50_ms=0.29)
    simple_text(tmp_path, FP32, INT8, ruined, winner="int8")
    assert (tmp_path / "plots" / "tradeoff.svg").stat().st_size < 150_000


def test_a_run_without_traffic_states_no_errors_a_day(tmp_path: Path) -> None:
    text = simple_text(tmp_path, traffic=None)
    assert "No traffic figure was given" in text
    assert "predictions a day:" not in text


def test_candidates_that_cannot_be_told_apart_are_named(tmp_path: Path) -> None:
    run = simple_run(tmp_path, (FP32, INT8, replace(INT8, name="int8-b")), winner="int8")
    assert run.decision is not None
    decision = run.decision.model_copy(update={"tied_with": ("int8-b",)})
    store(tmp_path, run.model_copy(update={"decision": decision}))
    assert "Its p50 could not be told from that of `int8-b`." in text_of(tmp_path)


def test_an_unconfirmed_choice_is_said_to_be_flattered(tmp_path: Path) -> None:
    run = simple_run(tmp_path, (FP32, INT8), winner="int8")
    bare = run.candidates[1].model_copy(update={"confirmation": None})
    store(tmp_path, run.model_copy(update={"candidates": (run.candidates[0], bare)}))
    assert "**not confirmed**" in text_of(tmp_path)


def test_a_slower_candidate_is_called_slower(tmp_path: Path) -> None:
    slow = replace(INT8, p50_ms=3.4)
    assert "4.0x slower at p50 than `fp32`" in simple_text(tmp_path, FP32, slow)
    assert around(1.0, 0.1).high == pytest.approx(1.1)


def _dumped(run: Run, second: CandidateResult) -> dict[str, Any]:
    fields = run.model_dump(mode="json")
    fields["candidates"][1] = second.model_dump(mode="json", warnings=False)
    return fields

"""What a gate makes of what it has seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gate_cases import contest_of, evidence, quality, report

from mlopt.errors import ConfigError
from mlopt.pipeline import gate_timing
from mlopt.pipeline.accuracy import fallback
from mlopt.pipeline.contest import Contest, Side, Terms
from mlopt.pipeline.gate_entrants import planned_baseline, planned_candidate
from mlopt.pipeline.gate_lines import (
    accuracy_lines,
    budget_lines,
    contest_warnings,
    own_warnings,
    percent,
    placement_line,
    regression_line,
    remedies,
)
from mlopt.pipeline.gate_timing import Race, budgeted_workloads, time_workloads
from mlopt.pipeline.reference import Entrant
from mlopt.project import MetricSpec, load_project
from mlopt.types.budget import BudgetLine
from mlopt.types.candidate import Stage
from mlopt.types.decision import Outcome
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import Placement, Quality, TailSupport
from mlopt.types.plan import Schedule
from mlopt.types.workload import Workload
from mlopt.workers import Limits

SAME = Estimate(value=1.0, low=0.995, high=1.005)
TWICE_AS_FAST = Estimate(value=0.5, low=0.49, high=0.51)
SLOWER = Estimate(value=1.05, low=1.04, high=1.06)
UNKNOWN = Estimate(value=1.02, low=0.98, high=1.06)

SAME_ANSWERS = quality(-0.005, 0.005)
WRONG_ANSWERS = quality(-0.3, -0.2)
TOO_FEW_ANSWERS = quality(-0.02, 0.02)


@pytest.mark.parametrize(
    ("ratio", "timing", "answers", "verdict"),
    [
        (SAME, "PASS", SAME_ANSWERS, "PASS"),
        (TWICE_AS_FAST, "PASS", SAME_ANSWERS, "PASS"),
        (TWICE_AS_FAST, "PASS", WRONG_ANSWERS, "FAIL"),
        (TWICE_AS_FAST, "PASS", TOO_FEW_ANSWERS, "INCONCLUSIVE"),
        (SLOWER, "FAIL", SAME_ANSWERS, "FAIL"),
        (SLOWER, "FAIL", TOO_FEW_ANSWERS, "FAIL"),
        (UNKNOWN, "INCONCLUSIVE", SAME_ANSWERS, "INCONCLUSIVE"),
        (UNKNOWN, "INCONCLUSIVE", WRONG_ANSWERS, "FAIL"),
    ],
)
def test_latency_and_answers_are_gated_jointly(
    ratio: Estimate, timing: Outcome, answers: Quality, verdict: Outcome
) -> None:
    assert report(ratio, timing, answers).outcome == verdict


def test_a_broken_budget_line_fails_the_gate() -> None:
    found = report(SAME, "PASS", SAME_ANSWERS, budget=("p99 <= 1 ms", "size <= 2 kB"))
    assert [(line.title, line.outcome) for line in found.lines if line.subject == "budget"] == [
        ("p99 <= 1 ms", "FAIL"),
        ("size <= 2 kB", "PASS"),
    ]
    assert found.outcome == "FAIL"


def test_answers_are_judged_against_each_model_that_they_were_compared_with() -> None:
    lines = accuracy_lines(
        {"baseline": SAME_ANSWERS, "reference": WRONG_ANSWERS},
        {"baseline": "fp32", "reference": "old.onnx", "ship": "new.onnx"},
    )
    assert [(line.against, line.outcome) for line in lines] == [
        ("against the baseline fp32", "PASS"),
        ("against the reference old.onnx", "FAIL"),
    ]


def test_a_metric_without_a_margin_is_no_line_of_the_contract() -> None:
    assert accuracy_lines({"baseline": quality(-1, -0.5, None)}, {"baseline": "fp32"}) == []


def test_budget_lines_hold_no_metric() -> None:
    seen = evidence().model_copy(update={"quality": WRONG_ANSWERS})
    assert budget_lines((), seen, 1) == []


def test_nodes_that_ran_elsewhere_are_counted() -> None:
    entrant = Entrant("a", None, Path("nowhere"), "onnxruntime", "cpu", {})
    assert fallback(entrant, None) is None
    assert fallback(entrant, Placement(nodes={"CPUExecutionProvider": 4})) is None
    mixed = Placement(nodes={"CPUExecutionProvider": 4, "OtherExecutionProvider": 2})
    assert fallback(entrant, mixed) == "2 of 6 nodes ran elsewhere"


def test_nodes_that_ran_elsewhere_fail_the_gate() -> None:
    line = placement_line("cuda", "3 of 20 nodes ran elsewhere")
    assert line.outcome == "FAIL"
    assert "every node runs on cuda: 3 of 20" in line.title


MARGIN = [MetricSpec(name="accuracy", max_drop=0.01)]


def test_a_gate_that_could_not_have_passed_an_unchanged_model_says_so() -> None:
    wide = own_warnings(contest_of(UNKNOWN, "INCONCLUSIVE"), 0.02, MARGIN, "more rounds")
    assert "could not have passed an unchanged model at a tolerance of 2%" in wide[0]
    assert wide[0].endswith("It needs more rounds")
    assert own_warnings(contest_of(SAME, "PASS"), 0.02, MARGIN, "more rounds") == []
    assert own_warnings(contest_of(UNKNOWN, None), 0.02, MARGIN, "more rounds") == []


def test_a_gate_without_a_margin_warns_that_answers_do_not_count() -> None:
    (only,) = own_warnings(contest_of(SAME, "PASS"), 0.02, [MetricSpec(name="accuracy")], "")
    assert "no metric has a 'max_drop'" in only


def test_warnings_say_which_model_and_which_trial_they_are_about() -> None:
    warnings = ("A: one thing", "B: another", "A and B: noise: much")
    seen = contest_of(SAME, "PASS")._replace(warnings=warnings)
    assert contest_warnings(seen, ("old", "new"), " at batch-8") == [
        "old at batch-8: one thing",
        "new at batch-8: another",
        "old and new at batch-8: noise: much",
    ]


@pytest.mark.parametrize(
    ("launches", "rounds", "first"),
    [
        (12, 144, "more rounds (`measurement.rounds`)"),
        (12, 100, "more time (--max-seconds)"),
        (7, 84, "more time (--max-seconds)"),
    ],
)
def test_more_time_is_advised_only_where_time_cut_the_gate_short(
    launches: int, rounds: int, first: str
) -> None:
    seen = contest_of(UNKNOWN, "INCONCLUSIVE", launches=launches, rounds=rounds)
    settles = remedies(seen, rounds=12)
    assert settles.split(", ")[0] == first
    line = regression_line(UNKNOWN, "INCONCLUSIVE", 0.02, "old.onnx", settles)
    assert line.verdict.settles == settles
    assert regression_line(SAME, "PASS", 0.02, "old.onnx", settles).verdict.settles is None


def test_a_gate_that_ended_before_its_first_look_says_so() -> None:
    seen = contest_of(SAME, "INCONCLUSIVE", launches=1, rounds=12)._replace(looks=0)
    assert remedies(seen, rounds=12) == (
        "more time (--max-seconds): it ended after 1 launch, before the first planned look at 4"
    )


def test_a_throughput_that_was_not_measured_says_what_would_settle_it() -> None:
    budget = lines("p99 <= 5 ms", "throughput >= 10 /s")
    p99, throughput = budget_lines(budget, evidence(), 1, "mending the rest")
    assert (p99.outcome, p99.verdict.settles) == ("PASS", None)
    assert (throughput.outcome, throughput.verdict.settles) == ("INCONCLUSIVE", "mending the rest")


def test_percents_read_well() -> None:
    assert [percent(share) for share in (0.02, 0.005, 0.125, 7.8)] == ["2%", "0.5%", "12%", "780%"]


# --- what is timed ---

ONE, EIGHT, MANY = (Workload(batch_size=size) for size in (1, 8, 64))


def lines(*texts: str) -> tuple[BudgetLine, ...]:
    return tuple(BudgetLine.parse(text) for text in texts)


def test_only_the_first_workload_and_those_of_the_budget_are_timed() -> None:
    budget = lines("p50 <= 5 ms @ batch-64", "size <= 1 MB")
    assert budgeted_workloads((ONE, EIGHT, MANY), budget) == [ONE, MANY]


class Stand:
    """Contests that take ten seconds each, and what they were asked."""

    def __init__(self, tmp_path: Path, p99: TailSupport) -> None:
        self.terms: list[Terms] = []
        self.now = 0.0
        self.p99: TailSupport = p99
        self.launches = 5
        self.samples = [1000, 1000]
        self.tmp_path = tmp_path

    def contest(self, a: Side, b: Side, terms: Terms, work: Path, on_event: object) -> Contest:
        assert work.is_dir()
        self.terms.append(terms)
        self.now += 10.0
        support: TailSupport = "interval" if len(self.terms) > 1 else self.p99
        outcome: Outcome | None = None if terms.tolerance is None else "PASS"
        seen = contest_of(SAME, outcome, support, terms.workload, launches=self.launches)
        return seen._replace(samples=self.samples[min(len(self.terms), 2) - 1])

    def run(
        self, workloads: list[Workload], budget: tuple[BudgetLine, ...], seconds: float = 60.0
    ) -> list[gate_timing.Timed]:
        side = Side("a", Stage(artifact="", runner="onnxruntime", provider="cpu"), 1)
        terms = Terms(
            snapshot=self.tmp_path,
            project_dir=self.tmp_path,
            workload=ONE,
            schedule=Schedule(),
            seed=3,
            limits=Limits(),
            max_seconds=seconds,
            tolerance=0.02,
        )
        race = Race(side, side, terms, self.tmp_path / "timing", lambda event: None)
        return time_workloads(race, workloads, budget, clock=lambda: self.now)


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    made = Stand(tmp_path, "insufficient")
    monkeypatch.setattr(gate_timing, "contest", made.contest)
    return made


def test_a_gate_that_ends_before_the_p99_is_known_goes_on_for_the_budget(stand: Stand) -> None:
    (timed,) = stand.run([ONE], lines("p99 <= 5 ms"))
    first, second = stand.terms
    assert (first.tolerance, second.tolerance) == (0.02, None)
    assert second.max_seconds == 50.0
    assert second.seed != first.seed
    assert timed.contest.outcome == "PASS"
    assert timed.absolute.b.measurements[0].p99_support == "interval"


@pytest.mark.parametrize("line", ["p50 <= 5 ms", "rss <= 1 GB", "cold start <= 5 s"])
def test_a_gate_that_ends_after_few_launches_goes_on_for_any_line_of_the_budget(
    stand: Stand, line: str
) -> None:
    stand.launches = 4
    (timed,) = stand.run([ONE], lines(line))
    assert [one.tolerance for one in stand.terms] == [0.02, None]
    assert timed.extended


def test_the_budget_is_judged_on_the_trial_with_more_samples(stand: Stand) -> None:
    stand.launches, stand.samples = 4, [1000, 999]
    (timed,) = stand.run([ONE], lines("p50 <= 5 ms"))
    assert len(stand.terms) == 2
    assert not timed.extended


@pytest.mark.parametrize("budget", [(), ("size <= 1 MB",), ("throughput >= 1 /s",)])
def test_it_does_not_where_the_budget_asks_for_no_number_of_it(
    stand: Stand, budget: tuple[str, ...]
) -> None:
    stand.launches = 4
    stand.run([ONE], lines(*budget))
    assert len(stand.terms) == 1


def test_it_does_not_where_launches_are_enough_and_no_line_asks_for_the_p99(stand: Stand) -> None:
    (timed,) = stand.run([ONE], lines("p50 <= 5 ms"))
    assert len(stand.terms) == 1
    assert timed.absolute is timed.contest


def test_it_does_not_where_the_p99_is_known(stand: Stand) -> None:
    stand.p99 = "interval"
    stand.run([ONE], lines("p99 <= 5 ms"))
    assert len(stand.terms) == 1


def test_it_does_not_where_two_more_launches_would_not_fit(stand: Stand) -> None:
    stand.run([ONE], lines("p99 <= 5 ms"), seconds=13.9)
    assert len(stand.terms) == 1


def test_only_the_deciding_workload_is_gated_and_the_time_is_shared(stand: Stand) -> None:
    stand.p99 = "interval"
    timed = stand.run([ONE, EIGHT], lines("p50 <= 5 ms @ batch-8"))
    assert [one.tolerance for one in stand.terms] == [0.02, None]
    assert [one.max_seconds for one in stand.terms] == [30.0, 30.0]
    assert [one.absolute.b.measurements[0].workload for one in timed] == [ONE, EIGHT]


def test_a_cold_start_in_the_budget_lets_no_two_processes_start_at_once(stand: Stand) -> None:
    stand.p99 = "interval"
    stand.run([ONE], lines("cold start <= 5 s"))
    assert [one.open_together for one in stand.terms] == [False]


# --- what may be built ---


def test_a_candidate_that_no_recipe_trains_may_be_named(onnx_project: Callable[..., Path]) -> None:
    loaded = load_project(onnx_project())
    assert planned_baseline(loaded).name == "fp32"
    assert planned_candidate(loaded, "int8-dynamic").steps[-1].transformation == "int8_dynamic"
    with pytest.raises(ConfigError, match="no file or directory 'nothing'"):
        planned_candidate(loaded, "nothing")
    with pytest.raises(
        ConfigError, match=r"no candidate 'fp32\[a=1\]'\. The recipe 'fp32' makes fp32"
    ):
        planned_candidate(loaded, "fp32[a=1]")
    with pytest.raises(ConfigError, match="unknown provider 'nosuch'"):
        planned_candidate(loaded, "fp32@nosuch")


def test_a_provider_of_the_project_that_nobody_asked_for_need_not_be_there(
    onnx_project: Callable[..., Path],
) -> None:
    loaded = load_project(onnx_project(providers=["cpu", "nosuch"]))
    assert planned_candidate(loaded, "int8-dynamic").provider == "cpu"


def test_a_candidate_that_trains_is_only_taken_as_an_artifact(
    project_dir: Callable[..., Path],
) -> None:
    loaded = load_project(project_dir({"data.training": "data:calibration"}))
    with pytest.raises(ConfigError, match=r"is trained \(.*finetune\), and a gate never trains"):
        planned_candidate(loaded, "prune-finetune-int8")

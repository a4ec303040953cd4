"""The search of a recipe's choices with optuna."""

from __future__ import annotations

import itertools
import logging

import pytest
from search_cases import SPACE, explore, fate, planned, result, run_of, search

from mlopt.errors import UnavailableError
from mlopt.search import Proposer
from mlopt.search import _tpe as tpe
from mlopt.search.optuna_search import PROVIDER, search_of
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.plan import SearchPlan
from mlopt.types.run import CandidateResult, Run

SIZE = 60


def names_of(batches: list[list[str]]) -> list[str]:
    return list(itertools.chain(*batches))


@pytest.fixture(scope="module")
def whole() -> tuple[list[list[str]], Run]:
    """A search of 20 trials, 4 at a time, from its beginning to its end."""
    return explore(search())


def test_it_asks_for_as_many_as_it_may_some_at_a_time_and_for_none_twice() -> None:
    batches, _ = explore(search(trials=22, batch=5))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 2]
    assert len(set(names_of(batches))) == 22


def test_no_combination_is_asked_for_twice_though_all_but_one_are_seen() -> None:
    small = {"calibration": ["minmax", "entropy"], "exclude": [[], ["Conv"]], "threads": [1, 2, 4]}
    batches, run = explore(search(trials=11, batch=5, dimensions=small))
    assert len(set(names_of(batches))) == len(run.candidates) == 11


def test_the_same_seed_and_results_ask_for_the_same_and_another_seed_for_others(
    whole: tuple[list[list[str]], Run],
) -> None:
    assert explore(search())[0] == whole[0]
    assert set(names_of(explore(search(seed=8))[0])) != set(names_of(whole[0]))


def test_what_was_seen_decides_what_is_asked_for_next(whole: tuple[list[list[str]], Run]) -> None:
    def reverse(choices):
        ratio, loss = fate(choices)
        return 2 - ratio, 1 - loss

    other, _ = explore(search(), reverse)
    assert other[0] == whole[0][0]
    assert other != whole[0]


def test_most_of_the_front_is_found_in_half_of_the_space() -> None:
    proposer = search(trials=30, seed=1)
    _, run = explore(proposer)
    best = [c for c in run.candidates if c.plan.choices["calibration"] == "entropy"]
    best = [c for c in best if c.plan.choices["exclude"] == []]
    assert len(best) >= 4  # of 5; by chance it would be 2.5
    assert set(proposer.summary(run).front) >= {one.name for one in best}


def test_the_run_goes_on_as_if_it_had_not_been_cut_off_where_the_results_are_the_same(
    whole: tuple[list[list[str]], Run],
) -> None:
    batches, run = whole
    for kept in (3, 10):  # within the first batch, and within the third
        assert explore(search(), known=run.candidates[:kept])[0] == batches


def test_what_a_resumed_run_has_is_asked_for_before_anything_new_whatever_its_results(
    whole: tuple[list[list[str]], Run],
) -> None:
    batches, run = whole
    known = tuple(
        result(one.plan, (2.0 + number / 100, 0.5 - number / 100))
        for number, one in enumerate(run.candidates[:14])
    )
    again, _ = explore(search(), known=known)
    assert names_of(again)[:14] == names_of(batches)[:14]
    assert len(set(names_of(again))) == 20


def test_a_candidate_of_the_run_that_only_looks_alike_is_not_taken_for_one_of_the_space(
    whole: tuple[list[list[str]], Run],
) -> None:
    one = whole[1].candidates[0].plan
    choices = {**one.choices, "threads": 16, "graph_optimization": "basic"}
    tuned = result(one.model_copy(update={"name": "tuned", "choices": choices}), (0.1, 0.0))
    assert explore(search(), known=(tuned,))[0] == whole[0]


def test_a_space_no_larger_than_the_trials_is_enumerated_in_an_order_of_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tpe, "find_spec", lambda name: None)  # and takes no optuna
    proposer = search(trials=SIZE, batch=25)
    assert "all 60 combinations of 3 choices" in proposer.name
    batches, run = explore(proposer)
    assert [len(batch) for batch in batches] == [25, 25, 10]
    assert len(set(names_of(batches))) == SIZE
    assert explore(search(trials=100, batch=25))[0] == batches
    assert explore(search(trials=SIZE, batch=25, seed=1))[0] != batches
    assert proposer.summary(run).share == 1


def test_a_larger_space_without_optuna_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tpe, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'mlopt\[search\]'"):
        search(trials=SIZE - 1)


def test_a_value_that_always_fails_is_tried_less_than_by_chance() -> None:
    def becomes(choices):
        return "it does not compile" if choices["calibration"] == "minmax" else fate(choices)

    late = []
    for seed in range(2):
        proposer = search(trials=30, seed=seed)
        batches, run = explore(proposer, becomes)
        failed = ["minmax" in name for name in names_of(batches)]
        assert proposer.summary(run).failed == sum(failed)
        late += failed[12:]
    assert sum(late) / len(late) < 0.25  # by chance it would be a third, and rising


def test_what_violates_a_constraint_is_asked_for_less_than_by_chance() -> None:
    """What is fastest and what is most exact violate it: the constraint alone leads away."""

    def constraints(one: CandidateResult) -> list[float]:
        return [0.0, 1.0 if one.plan.choices["calibration"] == "entropy" else -1.0]

    late = []
    for seed in range(2):
        batches, _ = explore(search(trials=30, seed=seed, constraints=constraints))
        late += ["entropy" in name for name in names_of(batches)[12:]]
    assert sum(late) / len(late) < 0.25


def test_a_candidate_of_which_nothing_is_known_is_passed_over() -> None:
    batches, run = explore(search(trials=12), lambda choices: None)
    assert len(set(names_of(batches))) == 12
    assert search(trials=12).summary(run).seen == 0


def test_it_ends_when_the_time_limit_ended_building_or_the_baseline_failed() -> None:
    proposer = search()
    skipped = [CandidateResult(plan=one, status="skipped") for one in proposer.ask().candidates]
    proposer.tell(run_of(*skipped))
    assert proposer.ask() is None
    proposer = search()
    built = [result(one, (1.0, 0.0)) for one in proposer.ask().candidates]
    broken = result(planned({}, role="baseline"), "it broke")
    proposer.tell(run_of(broken, *built))
    assert proposer.ask() is None


def test_a_batch_says_which_of_how_many_trials_it_is() -> None:
    proposer = search(trials=9, batch=4)
    assert proposer.ask().because == "int8: trials 1 to 4 of 9"
    proposer.tell(run_of())
    proposer.ask()
    proposer.tell(run_of())
    assert proposer.ask().because == "int8: trial 9 of 9"


def test_optuna_announces_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.DEBUG):
        explore(search(trials=14))
    assert capfd.readouterr().err == ""
    assert optuna.logging.get_verbosity() == before


def test_the_summary_says_how_much_was_seen_what_failed_and_what_nothing_beats() -> None:
    proposer: Proposer = search(trials=15)
    _, run = explore(proposer, lambda c: "no kernel" if c["exclude"] == ["Gemm"] else fate(c))
    found = proposer.summary(run)
    assert (found.recipe, found.size, found.seen) == ("int8", SIZE, 15)
    assert found.share == 0.25
    assert found.failed == sum(one.failure is not None for one in run.candidates) > 0
    assert found.asked == tuple(one.name for one in run.candidates)
    assert set(found.front) <= set(found.asked)
    assert found.choices["threads"] == (1, 2, 4, 8, 16)
    assert "at most 15 of the 60 combinations of 3 choices" in found.method


def test_the_search_of_a_plan_has_the_choices_of_its_steps_and_session_and_the_providers() -> None:
    plan = SearchPlan(
        recipe="int8-explored",
        steps=(
            {"pass": "export_onnx"},
            {"pass": "int8_static", "calibration": ["minmax", "entropy"]},
        ),
        session={"graph_optimization": ["extended", "all"]},
        providers=("cpu", "openvino"),
        trials=8,
        batch=8,
    )
    made = []

    def make(recipe, choices, provider) -> PlannedCandidate:
        made.append((recipe.name, dict(choices), provider))
        return planned({**choices, PROVIDER: provider}).model_copy(update={"provider": provider})

    proposer = search_of(plan, "torch", make, seed=0, constraints=lambda one: ())
    batch = proposer.ask()
    assert len(batch.candidates) == 8
    assert {name for name, _, _ in made} == {"int8-explored"}
    assert {tuple(choices) for _, choices, _ in made} == {("calibration", "graph_optimization")}
    assert {provider for _, _, provider in made} == {"cpu", "openvino"}


def test_one_provider_is_no_choice() -> None:
    plan = SearchPlan(
        recipe="int8-explored",
        steps=({"pass": "int8_static", "calibration": ["minmax", "entropy"]},),
        providers=("openvino",),
        trials=4,
        batch=4,
    )
    proposer = search_of(
        plan,
        "onnx",
        lambda recipe, choices, provider: planned({**choices, "on": provider}),
        seed=0,
        constraints=lambda one: (),
    )
    assert sorted(one.name for one in proposer.ask().candidates) == [
        "int8[calibration=entropy,on=openvino]",
        "int8[calibration=minmax,on=openvino]",
    ]


def test_the_space_of_the_tests_is_as_large_as_they_say() -> None:
    assert len(list(itertools.product(*SPACE.values()))) == SIZE

"""Who leaves the race, and who stays though it is slow."""

from __future__ import annotations

import numpy as np
import pytest

from mlopt.decision.dominance import Race, Standing, clearly_slower
from mlopt.profiling.samples import Samples
from mlopt.profiling.stopping import Ruling, Seen
from mlopt.types.budget import BudgetLine


class Onlooker:
    """A referee that never ends anything, and remembers whom it saw."""

    def after_launch(self, seen: Seen, launches: int) -> Ruling:
        self.saw = set(seen)
        return Ruling()


def samples(
    p50_ms: float, launches: int = 3, noise: float = 0.02, seed: int = 0, rounds: int = 12
) -> Samples:
    rng = np.random.default_rng([seed, int(1000 * p50_ms)])
    found = Samples()
    for launch in range(launches):
        for number in range(rounds):
            block = p50_ms * 1e6 * np.exp(noise * rng.normal()) * (1 + 0.01 * rng.random(20))
            found.add(launch, number, block.astype(int).tolist())
    return found


def standing(loss: float = 0.0, ships: bool = True, leaves: bool = True) -> Standing:
    return Standing((loss,), ships, leaves)


def leaving(
    p50: dict[str, float],
    standings: dict[str, Standing] | None = None,
    launches: int = 3,
    budget: tuple[str, ...] = (),
) -> set[str]:
    everybody = {name: standing(leaves=name != "base") for name in p50} | (standings or {})
    lines = [BudgetLine.parse(line) for line in budget]
    seen = {name: {1: samples(ms, launches)} for name, ms in p50.items()}
    onlooker = Onlooker()
    ruling = Race(onlooker, everybody, lines).after_launch(seen, launches)
    assert onlooker.saw == set(seen) - set(ruling.leaving)
    return set(ruling.leaving)


def test_a_slower_candidate_that_is_no_better_at_anything_leaves() -> None:
    assert leaving({"base": 2.0, "fast": 1.0, "slow": 1.5}) == {"slow"}


def test_the_reason_names_the_one_that_is_better() -> None:
    seen = {name: {1: samples(ms)} for name, ms in {"fast": 1.0, "slow": 2.0}.items()}
    everybody = {name: standing() for name in seen}
    ruling = Race(Onlooker(), everybody, ()).after_launch(seen, 3)
    assert "certainly slower than fast" in ruling.leaving["slow"]


def test_the_baseline_stays_for_the_ratios_and_may_dominate() -> None:
    assert leaving({"base": 1.0, "slow": 2.0}) == {"slow"}
    assert leaving({"base": 2.0, "fast": 1.0}) == set()


def test_one_that_loses_less_stays_until_its_latency_has_an_interval() -> None:
    exact = {"slow": standing(loss=-0.01)}
    assert leaving({"fast": 1.0, "slow": 2.0}, exact, launches=2) == set()
    assert leaving({"fast": 1.0, "slow": 2.0}, exact, launches=3) == {"slow"}


@pytest.mark.parametrize("line", ["p50 <= 0.9 ms", "p99 <= 1.8 ms", "mean <= 0.9 ms"])
def test_what_seems_to_break_the_budget_sends_nobody_home(line: str) -> None:
    assert leaving({"fast": 1.0, "slow": 2.0}, budget=(line,)) == set()
    assert leaving({"fast": 0.8, "slow": 2.0}, budget=(line,)) == {"slow"}


def test_a_latency_that_was_not_timed_is_not_kept() -> None:
    assert leaving({"fast": 1.0, "slow": 2.0}, budget=("p99 <= 5 ms @ batch-8",)) == set()


def test_what_may_not_ship_sends_nobody_home() -> None:
    assert leaving({"fast": 1.0, "slow": 2.0}, {"fast": standing(ships=False)}) == set()


def test_a_small_difference_is_no_reason_to_leave() -> None:
    assert leaving({"fast": 1.0, "slow": 1.05}) == set()


def test_nobody_leaves_before_the_spread_between_launches_can_be_seen() -> None:
    assert leaving({"fast": 1.0, "slow": 1.15}, launches=2) == set()
    assert leaving({"fast": 1.0, "slow": 1.15}, launches=3) == {"slow"}
    assert leaving({"fast": 1.0, "slow": 1.3}, launches=1) == set()
    assert leaving({"fast": 1.0, "slow": 1.3}, launches=2) == {"slow"}


def test_who_is_far_behind_leaves_after_one_launch() -> None:
    assert leaving({"fast": 1.0, "slow": 1.8}, launches=1) == {"slow"}


def test_one_launch_with_few_rounds_sends_nobody_home() -> None:
    slow, fast = samples(3.0, launches=1, rounds=6), samples(1.0, launches=1, rounds=6)
    assert not clearly_slower(slow, fast)


def test_what_disturbs_most_of_one_launch_sends_nobody_home() -> None:
    fast, slow = samples(1.0, launches=1, rounds=12), samples(1.0, launches=1, rounds=12)
    for number in range(12, 48):
        fast.add(0, number, [1_000_000] * 20)
        slow.add(0, number, [1_800_000] * 20)
    assert not clearly_slower(slow, fast)
    assert clearly_slower(samples(1.8, launches=1, rounds=48), fast)


def test_a_budget_on_memory_or_cold_start_keeps_everybody() -> None:
    assert leaving({"fast": 1.0, "slow": 2.0}, budget=("p99 <= 5 ms", "size <= 1 MB")) == {"slow"}
    assert leaving({"fast": 1.0, "slow": 2.0}, budget=("rss <= 1 GB",)) == set()


def test_who_has_just_joined_and_was_not_timed_yet_stays() -> None:
    seen: Seen = {"fast": {1: samples(1.0)}, "new": {}}
    everybody = {name: standing() for name in seen}
    assert Race(Onlooker(), everybody, ()).after_launch(seen, 3).leaving == {}


def test_noise_alone_sends_nobody_home() -> None:
    wrong = sum(
        clearly_slower(samples(1.0, noise=0.5, seed=i), samples(1.0, noise=0.5, seed=1000 + i))
        for i in range(300)
    )
    assert wrong == 0


def test_rounds_that_only_one_of_them_saw_do_not_count() -> None:
    slow, fast = samples(1.15, launches=2), samples(1.0, launches=5)
    assert not clearly_slower(slow, fast)
    assert clearly_slower(samples(1.15, launches=3), fast)

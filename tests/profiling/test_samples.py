"""Raw samples: kept whole, at eight bytes each."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mlopt import stats
from mlopt.profiling.samples import Samples
from mlopt.store.arrays import write_array

BLOCKS = [(0, 0, [10, 30, 20]), (0, 1, [40]), (1, 0, [60, 50])]


@pytest.fixture
def samples() -> Samples:
    found = Samples()
    for block in BLOCKS:
        found.add(*block)
    return found


def test_samples_come_back_from_disk_as_they_were(samples: Samples, tmp_path: Path) -> None:
    reference = samples.write(tmp_path, "samples/a.npz")
    assert reference.shape == (6,)
    again = Samples.read(tmp_path, reference)
    assert again.ns.tolist() == [10, 30, 20, 40, 60, 50]
    assert again.blocks.tolist() == [[0, 0, 3], [0, 1, 1], [1, 0, 2]]


def test_rows_of_an_older_run_are_read_as_the_same_blocks(samples: Samples, tmp_path: Path) -> None:
    rows = [(ns, launch, number) for launch, number, block in BLOCKS for ns in block]
    old = write_array(tmp_path, "old.npz", samples=np.array(rows, dtype=np.int64))
    again = Samples.read(tmp_path, old)
    assert again.ns.tolist() == samples.ns.tolist()
    assert again.blocks.tolist() == samples.blocks.tolist()


def test_rounds_are_in_milliseconds_with_their_launch_and_round(samples: Samples) -> None:
    rounds = samples.rounds()
    assert rounds.values.tolist() == [v / 1e6 for v in (10, 30, 20, 40, 60, 50)]
    assert rounds.launch.tolist() == [0, 0, 0, 0, 1, 1]
    assert rounds.round.tolist() == [0, 0, 0, 1, 0, 0]


def test_the_medians_of_blocks_are_those_of_all_samples(samples: Samples) -> None:
    keys, medians = samples.rounds().block_medians()
    short_keys, short_medians = samples.block_medians().block_medians()
    assert short_keys.tolist() == keys.tolist()
    assert short_medians.tolist() == medians.tolist()


def test_one_launch_can_be_looked_at_alone(samples: Samples) -> None:
    assert samples.launches == [0, 1]
    assert samples.of_launch(0).tolist() == [10, 30, 20, 40]
    assert samples.of_launch(1).tolist() == [60, 50]
    assert samples.of_launch(7).tolist() == []


def test_samples_are_worth_as_much_as_all_of_them_together_say() -> None:
    rng = np.random.default_rng(0)
    found = Samples()
    for launch in range(5):
        for number in range(12):
            slow = 1 + (number % 6 == 0)
            found.add(
                launch, number, (1e6 * slow * rng.lognormal(0, 0.05, 40)).astype(int).tolist()
            )
    exact = stats.effective_samples(found.rounds(), 0.99)
    assert exact < len(found) / 2
    assert found.effective(0.99) == pytest.approx(exact, rel=0.1)


def test_blocks_that_do_not_hold_the_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="3 samples do not fit"):
        Samples.of(np.arange(3), np.array([[0, 0, 2]]))


def test_memory_grows_by_eight_bytes_a_sample() -> None:
    def peak_bytes(blocks: int) -> int:
        tracemalloc.start()
        try:
            found = Samples()
            for number in range(blocks):
                found.add(0, number, [10**6] * 100)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak_bytes(1000), peak_bytes(11_000)
    # The array grows in steps of an eighth; 32 bytes go to each block of 100.
    assert (many - few) / 1_000_000 < 8 * 9 / 8 + 32 / 100 * 9 / 8 + 0.2

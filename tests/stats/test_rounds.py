import numpy as np
import pytest

from mlopt.stats import Rounds


def test_counts_samples_blocks_and_launches() -> None:
    rounds = Rounds(
        np.arange(6.0), launch=np.array([0, 0, 0, 3, 3, 3]), round=np.array([0, 0, 1, 0, 1, 2])
    )
    assert (rounds.n, rounds.blocks, rounds.launches) == (6, 5, 2)


def test_gives_the_median_of_each_block_in_order_of_launch_and_round() -> None:
    rounds = Rounds(
        np.array([9.0, 1.0, 5.0, 4.0, 2.0, 7.0]),
        launch=np.array([1, 0, 1, 0, 1, 1]),
        round=np.array([0, 2, 0, 2, 0, 1]),
    )
    keys, medians = rounds.block_medians()
    assert keys.tolist() == [[0, 2], [1, 0], [1, 1]]
    assert medians.tolist() == [2.5, 5.0, 7.0]


def test_selects_whole_blocks() -> None:
    rounds = Rounds(np.arange(4.0), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 0]))
    assert rounds.select(np.array([False, True, True])).values.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("values", "launch", "complaint"),
    [
        ([], [], "N >= 1"),
        ([[1.0]], [[0]], "N >= 1"),
        ([1.0, np.nan], [0, 0], "finite, got 1"),
        ([1.0, 2.0], [0], "launch must have shape"),
        ([1.0, 2.0], [0.0, 1.0], "launch must hold integers"),
    ],
)
def test_refuses_arrays_that_are_not_samples(
    values: list[float], launch: list[float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rounds(np.array(values), np.array(launch), np.zeros(len(values), dtype=np.int64))

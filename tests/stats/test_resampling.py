import numpy as np
import pytest

from mlopt.stats.resampling import PooledSamples, block_multiplicities


@pytest.mark.parametrize("n", [1, 2, 7, 50, 501])
@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.9, 0.99])
def test_weighted_quantiles_agree_with_repeating_the_samples(n: int, q: float) -> None:
    rng = np.random.default_rng(n)
    values = rng.integers(0, 40, n).astype(float)
    block = rng.integers(0, 5, n)
    draws = rng.integers(0, 4, (20, 5))
    draws[:, block[0]] += 1
    found = PooledSamples(values, block, 5).quantiles(draws, q)
    expected = [
        np.quantile(np.repeat(values, row[block]), q, method="averaged_inverted_cdf")
        for row in draws
    ]
    np.testing.assert_array_equal(found, expected)


def test_draws_as_many_rounds_as_each_drawn_launch_has() -> None:
    launch = np.array([0] * 3 + [1] * 8)
    draws = block_multiplicities(launch, 500, np.random.default_rng(0))
    times = np.stack([draws[:, :3].sum(axis=1) / 3, draws[:, 3:].sum(axis=1) / 8])
    assert set(map(tuple, times.T.tolist())) == {(2.0, 0.0), (1.0, 1.0), (0.0, 2.0)}


def test_draws_only_rounds_when_there_is_one_launch() -> None:
    draws = block_multiplicities(np.zeros(30, dtype=np.int64), 200, np.random.default_rng(0))
    assert (draws.sum(axis=1) == 30).all()
    assert draws.var() == pytest.approx(29 / 30, rel=0.1)

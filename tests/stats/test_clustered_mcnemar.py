"""McNemar's test where whole units are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from mlopt import stats
from mlopt.stats.clustered import effective_counts


def outcomes(gained: int, lost: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    index = np.arange(n)
    return index < gained, (index >= gained) & (index < gained + lost), np.ones(n)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (0, 4), (3, 9), (9, 3), (0, 1)])
def test_single_outcomes_have_the_exact_test(gained: int, lost: int) -> None:
    found = stats.clustered_mcnemar_one_sided(*outcomes(gained, lost, 100_000))
    assert found == pytest.approx(stats.mcnemar_one_sided(gained, lost), rel=1e-3)


def test_outcomes_that_always_come_together_count_once() -> None:
    gained, lost, sizes = outcomes(2, 9, 400)
    single = stats.clustered_mcnemar_one_sided(gained, lost, sizes)
    tenfold = stats.clustered_mcnemar_one_sided(10 * gained, 10 * lost, 10 * sizes)
    assert tenfold == pytest.approx(single)
    assert effective_counts(10 * gained, 10 * lost, 10 * sizes) == pytest.approx(
        effective_counts(gained, lost, sizes)
    )


def test_one_unit_that_lost_everything_shows_nothing() -> None:
    lost = np.zeros(20)
    lost[0] = 50
    p_value = stats.clustered_mcnemar_one_sided(np.zeros(20), lost, np.full(20, 50))
    assert p_value == pytest.approx(0.5, abs=0.03)

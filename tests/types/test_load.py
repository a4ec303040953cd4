"""How many replicas a rate takes."""

import pytest

from mlopt.types.load import replicas


@pytest.mark.parametrize(
    ("target", "sustained", "headroom", "count"),
    [
        (100, 100, 0.0, 1),
        (101, 100, 0.0, 2),
        (700, 100, 0.3, 10),
        (701, 100, 0.3, 11),
        (0.1, 100, 0.3, 1),
        (1000, 200, 0.5, 10),
        (3, 0.1, 0.0, 30),
    ],
)
def test_replicas_are_the_target_over_what_each_is_kept_at(
    target: float, sustained: float, headroom: float, count: int
) -> None:
    assert replicas(target, sustained, headroom) == count

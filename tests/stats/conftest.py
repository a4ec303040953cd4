"""Latencies with known truth, for the tests of the intervals."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mlopt.stats import Rounds


def _log_latencies(
    kind: str,
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (5, 20, 100),
    launch_sd: float = 0.0,
) -> NDArray[np.float64]:
    """Logarithms of latencies, in the shape (launches, rounds, samples)."""
    if kind == "lognormal":
        x = rng.normal(0, 0.1, shape)
    elif kind == "bimodal":
        x = np.where(rng.random(shape) < 0.8, 0.0, 0.4) + rng.normal(0, 0.03, shape)
    elif kind == "heavy":
        x = np.log1p(0.1 * rng.pareto(2.2, shape))
    elif kind == "ar1":
        x = rng.normal(0, 0.1, shape)
        for i in range(1, shape[2]):
            x[..., i] = 0.9 * x[..., i - 1] + np.sqrt(1 - 0.9**2) * x[..., i]
    else:
        raise ValueError(kind)
    launches: NDArray[np.float64] = rng.normal(0, 1, (shape[0], 1, 1)) * launch_sd
    return x + launches


def _as_rounds(values: NDArray[np.float64]) -> Rounds:
    """Values of shape (launches, rounds, samples) as Rounds."""
    launch, round_, _ = np.indices(values.shape)
    return Rounds(values.ravel(), launch.ravel(), round_.ravel())


def _latencies(
    kind: str,
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (5, 20, 100),
    launch_sd: float = 0.0,
) -> Rounds:
    """Latencies around 1, as Rounds."""
    return _as_rounds(np.exp(_log_latencies(kind, rng, shape, launch_sd)))


@pytest.fixture
def log_latencies() -> Callable[..., NDArray[np.float64]]:
    """(kind, rng, shape, launch_sd) to logarithms of latencies of that shape."""
    return _log_latencies


@pytest.fixture
def latencies() -> Callable[..., Rounds]:
    """(kind, rng, shape, launch_sd) to latencies around 1."""
    return _latencies


@pytest.fixture
def as_rounds() -> Callable[[NDArray[np.float64]], Rounds]:
    """Values of shape (launches, rounds, samples) to Rounds."""
    return _as_rounds

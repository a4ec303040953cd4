"""The mean of a handful of values, such as one cold start for each launch."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlopt.stats.small_sample import require_confidence, student_t
from mlopt.types.estimate import Estimate


def mean_interval(
    values: Sequence[float] | NDArray[np.float64], *, confidence: float = 0.95
) -> Estimate:
    """The mean with Student's t interval (Student, Biometrika 6 (1908) 1-25).

    It takes the values to be independent and close to normal. One value has no interval.

    Args:
        values: Shape (n,), n >= 1, in any one unit.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Raises:
        ValueError: If there is no value, one is not finite, or `confidence` is out of range.
    """
    require_confidence(confidence)
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0:
        raise ValueError(f"values must have shape (n,) with n >= 1, got {sample.shape}")
    if not np.isfinite(sample).all():
        raise ValueError("values must be finite")
    mean = float(sample.mean())
    if sample.size == 1:
        return Estimate(value=mean)
    standard_error = float(sample.std(ddof=1)) / math.sqrt(sample.size)
    half_width = student_t(sample.size - 1, confidence) * standard_error
    return Estimate(value=mean, low=mean - half_width, high=mean + half_width)

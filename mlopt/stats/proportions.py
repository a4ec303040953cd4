"""The difference between two classifiers' shares of right answers, on the same examples.

`gained` examples are those that only the candidate answers rightly, `lost` those that only the
baseline does; the rest of the `n` examples say nothing about the difference.
"""

import math

from scipy import optimize, special

from mlopt.types.estimate import Estimate

_MAX_EXAMPLES = 10_000_000


def tango_interval(
    gained: float, lost: float, n: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The score interval of the difference of paired proportions, candidate minus baseline.

    The differences that the score test does not reject: Tango, Statistics in Medicine 17 (1998)
    891-908. It needs no large n and does not collapse when `gained` and `lost` are 0;
    then it is -+ z^2 / (n + z^2).

    Args:
        gained: Examples that became right. Real numbers are taken, for planning.
        lost: Examples that became wrong.
        n: All examples.
        confidence: Of the two-sided interval, strictly between 0 and 1.

    Returns:
        The lower and the upper end, between -1 and 1.

    Raises:
        ValueError: If a count is negative, n is 0, gained + lost exceeds n, or `confidence` is out
            of range.
    """
    _require_counts(gained, lost, n)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    z = float(special.ndtri((1 + confidence) / 2))
    return -_upper_end(lost, gained, n, z), _upper_end(gained, lost, n, z)


def mcnemar_exact(gained: int, lost: int) -> float:
    """The two-sided p-value of McNemar's test, from the exact binomial distribution.

    Under the null hypothesis each of the discordant examples falls on either side with probability
    1/2 (McNemar, Psychometrika 12 (1947) 153-157). It is 1 when there is none.

    Raises:
        ValueError: If a count is negative.
    """
    _require_counts(gained, lost, max(gained + lost, 1))
    return min(1.0, 2 * float(special.bdtr(min(gained, lost), gained + lost, 0.5)))


def mcnemar_one_sided(gained: int, lost: int) -> float:
    """The p-value of "the candidate is worse", from the exact binomial distribution.

    The probability of at least `lost` of the discordant examples being lost, when each falls on
    either side with probability 1/2 (McNemar, Psychometrika 12 (1947) 153-157). It is 1 when there
    is none.

    Raises:
        ValueError: If a count is negative.
    """
    _require_counts(gained, lost, max(gained + lost, 1))
    return float(special.bdtr(gained, gained + lost, 0.5))


def smallest_provable_drop(n: int, confidence: float = 0.95) -> float:
    """The smallest drop that `n` examples can rule out, even if no prediction changes.

    The half-width of `tango_interval(0, 0, n)`: z^2 / (n + z^2).

    Raises:
        ValueError: If n is not positive, or `confidence` is out of range.
    """
    return tango_interval(0, 0, n, confidence)[1]


def examples_needed(gained: int, lost: int, n: int, max_drop: float) -> int | None:
    """How many examples would settle non-inferiority, if the observed rates stay as they are.

    Settled means that the 95% interval of the delta lies wholly above -max_drop or wholly below.

    Args:
        gained: Examples that became right, of n.
        lost: Examples that became wrong, of n.
        n: The examples at hand.
        max_drop: The drop that is allowed, 0 or more.

    Returns:
        The total number of examples, those at hand included: n if they settle it already. None if
        more than 10 million would be needed, as when the delta sits at the margin.

    Raises:
        ValueError: If the counts are impossible or `max_drop` is negative.
    """
    _require_counts(gained, lost, n)
    if not max_drop >= 0:
        raise ValueError(f"max_drop must be 0 or more, got {max_drop}")

    def settled(total: int) -> bool:
        scale = total / n
        low, high = tango_interval(gained * scale, lost * scale, total)
        return low > -max_drop or high < -max_drop

    if settled(n):
        return n
    if n >= _MAX_EXAMPLES or not settled(_MAX_EXAMPLES):
        return None
    low, high = n, _MAX_EXAMPLES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high


def examples_needed_from_interval(
    delta: Estimate, n: int, max_drop: float, *, higher_is_better: bool
) -> int | None:
    """How many examples would settle non-inferiority of a metric that is not right or wrong.

    If the delta stays as it is, each half of its interval shrinks with the square root of the
    number of examples; settled means what it means in `examples_needed`.

    Args:
        delta: Candidate minus baseline, with its 95% interval.
        n: The examples at hand.
        max_drop: How much worse the metric may become, 0 or more, in its unit.
        higher_is_better: Whether the metric worsens by falling.

    Returns:
        As `examples_needed`; None also where there is no interval.

    Raises:
        ValueError: If n is not positive or `max_drop` is negative.
    """
    if n < 1:
        raise ValueError(f"n must be positive, got {n}")
    if not max_drop >= 0:
        raise ValueError(f"max_drop must be 0 or more, got {max_drop}")
    if delta.low is None or delta.high is None:
        return None
    sign = -1.0 if higher_is_better else 1.0
    best, worst = sorted((sign * delta.low, sign * delta.high))
    if worst < max_drop or best > max_drop:
        return n
    worsening = sign * delta.value
    to_margin = abs(max_drop - worsening)
    half_width = worst - worsening if worsening < max_drop else worsening - best
    if half_width >= to_margin * math.sqrt(_MAX_EXAMPLES / n):
        return None
    return math.floor(n * (half_width / to_margin) ** 2) + 1


def _upper_end(gained: float, lost: float, n: float, z: float) -> float:
    if gained + lost == 0:
        return z**2 / (n + z**2)
    if lost == n:
        return (z**2 - n) / (z**2 + n)
    observed = (gained - lost) / n
    if observed == 1:
        return 1.0

    def excess(delta: float) -> float:
        """Squared score statistic less z^2, times its variance: negative inside the interval."""
        variance = n * (2 * _share_lost(gained, lost, n, delta) + delta * (1 - delta))
        return (gained - lost - n * delta) ** 2 - z**2 * variance

    return float(optimize.brentq(excess, observed, 1.0, xtol=1e-14))


def _share_lost(gained: float, lost: float, n: float, delta: float) -> float:
    """The maximum-likelihood share of lost examples when the true difference is `delta`.

    The larger root of a quadratic (Tango 1998: the estimate of q21).
    """
    linear = (2 * n - gained + lost) * delta - gained - lost
    constant = -lost * delta * (1 - delta)
    root = math.sqrt(max(linear**2 - 8 * n * constant, 0.0))
    return (root - linear) / (4 * n)


def _require_counts(gained: float, lost: float, n: float) -> None:
    if not (gained >= 0 and lost >= 0 and n > 0):
        raise ValueError(f"counts must be 0 or more and n positive, got {gained}, {lost}, {n}")
    if gained + lost > n * (1 + 1e-12):
        raise ValueError(f"gained + lost must not exceed n, got {gained} + {lost} of {n}")

"""Whether there are enough samples to speak about a tail percentile, and the estimate if so.

Every count here is for independent samples. Samples that are not independent count as fewer: pass
`effective_samples`, not the number that was taken.
"""

from scipy import special

from mlopt.stats.bootstrap import quantile
from mlopt.stats.effective import effective_samples
from mlopt.stats.rounds import Rounds
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import TailSupport

_CONFIDENCE = 0.99
TAIL_ROUNDS = 50
"""The fewest rounds for an interval of a tail: fewer say too little of how the machine drifts."""


def samples_for_upper_bound(q: float, confidence: float = _CONFIDENCE) -> int:
    """The fewest independent samples whose largest bounds the q-quantile from above.

    The largest of n lies below the quantile with probability q^n at most (Wilks, Ann. Math.
    Statist. 12 (1941) 91-96), so this is the least n with q^n <= 1 - confidence: for p99 at 99%
    it is 459.

    Args:
        q: Strictly between 0 and 1.
        confidence: Strictly between 0 and 1.

    Raises:
        ValueError: If `q` or `confidence` is not strictly between 0 and 1.
    """
    return samples_for_interval(q, over=0, confidence=confidence)


def samples_for_interval(q: float, over: int = 1, confidence: float = _CONFIDENCE) -> int:
    """The fewest independent samples of which `over` may lie over a bound on the q-quantile.

    The early stopping of MLPerf LoadGen (Inference rules, "Early Stopping"): with h samples under
    a latency and t over it, the q-quantile lies under it at this confidence when
    I_q(h, t + 1) <= 1 - confidence, I being the regularised incomplete beta function. The result
    is the least h + t. For p99 at 99%: t = 0 gives 459, t = 1 gives 662. With 662, the bound is
    the second largest sample, and the largest is free to be an outlier.

    Args:
        q: Strictly between 0 and 1.
        over: The number of samples t that lie over the bound, 0 or more.
        confidence: Strictly between 0 and 1.

    Raises:
        ValueError: If an argument is out of its range.
    """
    _require_open_unit("q", q)
    _require_open_unit("confidence", confidence)
    if over < 0:
        raise ValueError(f"over must be 0 or more, got {over}")

    def settled(under: int) -> bool:
        return float(special.betainc(under, over + 1, q)) <= 1 - confidence

    high = 1
    while not settled(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high + over


def tail_support(n: float, rounds: int, q: float) -> TailSupport:
    """What `n` independent samples, taken over `rounds` rounds, allow to be said of the q-quantile.

    "interval" from `samples_for_interval(q)` samples (662 for p99) and 50 rounds, "upper_bound"
    from `samples_for_upper_bound(q)` (459 for p99), else "insufficient". Only upper tails are
    meant: q = 0.5 and above.

    Args:
        n: The (effective) number of independent samples.
        rounds: The number of rounds, over all launches.
        q: Strictly between 0 and 1.

    Raises:
        ValueError: If `q` is not strictly between 0 and 1.
    """
    if n >= samples_for_interval(q) and rounds >= TAIL_ROUNDS:
        return "interval"
    return "upper_bound" if n >= samples_for_upper_bound(q) else "insufficient"


def tail_estimate(
    rounds: Rounds, q: float, *, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> Estimate | None:
    """The q-quantile with what `tail_support` allows of it for the effective number of samples.

    Args:
        rounds: The samples.
        q: Strictly between 0 and 1.
        seed: The same seed gives the same interval.
        resamples: The number of bootstrap resamples.
        confidence: Of the two-sided interval; an upper bound alone holds at 99% whatever it is.

    Returns:
        The quantile with its interval; or with the largest sample as `high` and no `low`, where
        there is only an upper bound; or None, where there are not enough samples.

    Raises:
        ValueError: If `q` is not strictly between 0 and 1.
    """
    support = tail_support(effective_samples(rounds, q), rounds.blocks, q)
    if support == "insufficient":
        return None
    estimate = quantile(rounds, q, seed=seed, resamples=resamples, confidence=confidence)
    if support == "interval":
        return estimate
    return Estimate(value=estimate.value, high=float(rounds.values.max()))


def _require_open_unit(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}")

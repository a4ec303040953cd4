"""A number with what is known of its uncertainty."""

from mlopt.types.record import Record

HARDLY_KNOWN = 10.0
"""Of a positive quantity: ends of an interval that are a larger factor apart say next to nothing."""


class Estimate(Record):
    """A value with its two-sided 95% interval.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval; None where only an upper bound is known.
        high: Upper end of the interval; None where there is no interval at all.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return self.low is not None and self.high is not None

    @property
    def is_hardly_known(self) -> bool:
        """Whether this is a positive quantity that may be anything: after two launches, mostly."""
        return (
            self.low is not None and self.high is not None and self.high > HARDLY_KNOWN * self.low
        )

    def over(self, other: "Estimate") -> "Estimate":
        """The quotient of two positive quantities, with the widest interval that both allow."""
        value = self.value / other.value
        if not self.has_interval or not other.has_interval:
            return Estimate(value=value)
        assert self.low is not None and self.high is not None  # noqa: PT018  # has_interval
        assert other.low is not None and other.high is not None  # noqa: PT018
        return Estimate(value=value, low=self.low / other.high, high=self.high / other.low)

    def scaled(self, factor: float) -> "Estimate":
        """The same quantity in another unit (a positive factor)."""
        return Estimate(
            value=self.value * factor,
            low=None if self.low is None else self.low * factor,
            high=None if self.high is None else self.high * factor,
        )

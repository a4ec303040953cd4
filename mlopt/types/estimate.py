"""A number with what is known of its uncertainty."""

from mlopt.types.record import Record


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

    def scaled(self, factor: float) -> "Estimate":
        """The same quantity in another unit (a positive factor)."""
        return Estimate(
            value=self.value * factor,
            low=None if self.low is None else self.low * factor,
            high=None if self.high is None else self.high * factor,
        )

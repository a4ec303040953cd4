"""The contract that is fixed before anything is measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import model_validator

from mlopt.errors import ConfigError, did_you_mean
from mlopt.types.record import Record
from mlopt.types.workload import Workload

Quantity = Literal[
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "mean_ms",
    "cold_start_ms",
    "rss_bytes",
    "size_bytes",
    "throughput_per_s",
]

_TIME = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_RATE = {"/s": 1.0, "per_s": 1.0, "qps": 1.0}
_LATENCY: dict[str, Quantity] = {
    "p50": "p50_ms", "p90": "p90_ms", "p99": "p99_ms", "mean": "mean_ms",
}  # fmt: skip
_OTHER: dict[str, Quantity] = {
    "cold_start": "cold_start_ms", "rss": "rss_bytes", "size": "size_bytes",
    "throughput": "throughput_per_s",
}  # fmt: skip
_WORDS = _LATENCY | _OTHER
_UNITS = {"ms": _TIME, "bytes": _BYTES, "s": _RATE}
_ENDINGS = {"_ms": "ms", "_bytes": "b", "_per_s": "/s"}
_LINE = re.compile(
    r"^\s*(?P<quantity>[A-Za-z_0-9]+(?: [A-Za-z_0-9]+)*)\s*(?P<sign>[<>]=?|==?)"
    r"\s*(?P<number>[0-9.eE+-]+)\s*(?P<unit>/?[A-Za-zµ\u03bc_]*)(?:\s*@\s*(?P<workload>\S+))?\s*$"
)
_FORM = "Write it as 'p99 <= 5 ms', 'size <= 10 MB', 'p99 <= 20 ms @ batch-8' or 'throughput >= 200 /s'."


class BudgetLine(Record):
    """One line of the budget: a quantity must not exceed a limit; a throughput must reach it.

    Attributes:
        limit: In the unit of the quantity's name: milliseconds, bytes, or requests a second.
        workload: Name of the workload that a line about latency or throughput is about.
    """

    quantity: Quantity
    limit: float
    workload: str = Workload().name

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return cls._fields(value) if isinstance(value, str) else value

    @classmethod
    def parse(cls, text: str) -> BudgetLine:
        """Reads a line such as ``p99 < 5ms``, ``size <= 10 MB`` or ``p99 <= 20 ms @ batch-8``.

        Raises:
            ConfigError: The text is not such a line; the message says how to write it.
        """
        try:
            return cls(**cls._fields(text))
        except ValueError as e:
            raise ConfigError(str(e)) from e

    @staticmethod
    def _fields(text: str) -> dict[str, Any]:
        match = _LINE.match(text)
        if match is None:
            raise ValueError(f"cannot read the budget line {text!r}. {_FORM}")
        name = match["quantity"].replace(" ", "_")
        word = name.removesuffix("_ms").removesuffix("_bytes").removesuffix("_per_s").lower()
        if word not in _WORDS:
            raise ValueError(
                f"{match['quantity']!r} is no quantity of a budget. {did_you_mean(word, _WORDS)}"
            )
        quantity = _WORDS[word]
        _check_sign(text, match["sign"], quantity)
        units = _UNITS[quantity.rpartition("_")[2]]
        # Micro is U+00B5 on some keyboards and the Greek letter U+03BC on others.
        unit = match["unit"].lower().replace("\u03bc", "\u00b5")
        unit = unit or next((u for ending, u in _ENDINGS.items() if name.endswith(ending)), "")
        if unit not in units:
            found = f"the unit {match['unit']!r}" if match["unit"] else "no unit"
            raise ValueError(f"{text!r} has {found}; {word} is given in {', '.join(units)}.")
        try:
            limit = float(match["number"]) * units[unit]
        except ValueError:
            raise ValueError(f"{text!r}: {match['number']!r} is not a number. {_FORM}") from None
        if not 0 < limit < float("inf"):
            raise ValueError(f"{text!r}: the limit must be positive.")
        if match["workload"] and word not in (*_LATENCY, "throughput"):
            raise ValueError(
                f"{text!r}: {word} does not depend on the workload: leave '@ ...' out."
            )
        return {
            "quantity": quantity,
            "limit": limit,
            "workload": match["workload"] or Workload().name,
        }

    @property
    def is_latency(self) -> bool:
        """Whether the quantity is a latency, which is measured under a workload."""
        return self.quantity in _LATENCY.values()

    @property
    def is_throughput(self) -> bool:
        """Whether the line is about the rate that is sustained: the one lower limit."""
        return self.quantity == "throughput_per_s"

    def __str__(self) -> str:
        word: str = self.quantity
        for ending in _ENDINGS:
            word = word.removesuffix(ending)
        depends = self.is_latency or self.is_throughput
        where = f" @ {self.workload}" if depends and self.workload != Workload().name else ""
        sign = ">=" if self.is_throughput else "<="
        limit = format_quantity(self.quantity, self.limit, digits=12)
        return f"{word.replace('_', ' ')} {sign} {limit}{where}"


def p99_limit_ms(budget: Sequence[BudgetLine], workload: str) -> float | None:
    """The p99 that a throughput must keep: the tightest p99 line of the same workload."""
    limits = (x.limit for x in budget if x.quantity == "p99_ms" and x.workload == workload)
    return min(limits, default=None)


def _check_sign(text: str, sign: str, quantity: Quantity) -> None:
    if quantity == "throughput_per_s":
        if not sign.startswith(">"):
            raise ValueError(f"{text!r}: a throughput has a lower limit: write '>' or '>='.")
    elif not sign.startswith("<"):
        raise ValueError(f"{text!r}: a budget is an upper limit: write '<' or '<='.")


def format_quantity(quantity: str, value: float, digits: int = 3) -> str:
    """``value`` with a unit that reads well; MB is 10^6 bytes."""
    if quantity.endswith("_per_s"):
        return f"{value:.{max(digits, len(str(int(value))))}g} /s"
    if quantity.endswith("_ms"):
        return f"{value / 1000:.{digits}g} s" if value >= 1000 else f"{value:.{digits}g} ms"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.{digits}g} {unit}"
    return f"{value:.0f} B"

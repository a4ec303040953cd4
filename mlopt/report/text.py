"""Numbers and names as a reader meets them: the same in the report and on the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from mlopt.types.estimate import Estimate
from mlopt.types.privacy import without_paths

NONE = "-"
"""What a table shows where nothing is known."""

_MARKUP = re.compile(r"([*\[\]])")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def significant(value: float, digits: int = 3) -> str:
    """``value`` in plain decimals with ``digits`` significant ones; thousands have commas."""
    if value == 0:
        return "0"
    return fixed(value, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """``value`` with that many decimals; a zero has no sign."""
    text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


def interval(estimate: Estimate | None, *, least: int = 0) -> str:
    """An estimate of something positive, as ``0.42 (0.40 to 0.44)``, or as ``0.42 (hardly known)``.

    The decimals follow from the width of the interval.

    Args:
        estimate: None reads as :data:`NONE`.
        least: Fewest decimals.
    """
    if estimate is None:
        return NONE
    if estimate.low is None and estimate.high is not None:
        return upper_bound(estimate.high)
    if estimate.low is None or estimate.high is None:
        return fixed(estimate.value, max(least, _decimals(estimate.value, 3)))
    if estimate.is_hardly_known and estimate.value > 0:
        return f"{fixed(estimate.value, max(least, _decimals(estimate.value, 2)))} (hardly known)"
    decimals = max(least, _decimals(estimate.value, 2))
    half = (estimate.high - estimate.low) / 2
    if half > 0:
        decimals = max(decimals, _decimals(half, 1))
        if round(estimate.low, decimals) == 0:  # what is positive does not read as nothing
            decimals = _decimals(estimate.low, 1)
        if half >= 30 and estimate.value >= 1000:
            estimate = _to_tens(estimate)
    return _joined(estimate, min(decimals, 6), signed=False)


def drawable(estimate: Estimate) -> Estimate:
    """What a plot shows of a positive quantity: no ends where they would fill it."""
    return Estimate(value=estimate.value) if estimate.is_hardly_known else estimate


def change(estimate: Estimate | None) -> str:
    """A difference, as ``-0.11 (-0.63 to +0.33)``; two digits of the interval's width are shown."""
    if estimate is None:
        return NONE
    width = abs(estimate.value)
    if estimate.low is not None and estimate.high is not None:
        width = (estimate.high - estimate.low) / 2 or width
    decimals = min(max(0, _decimals(width, 2)), 6)
    return _joined(estimate, decimals, signed=True)


def upper_bound(value: float) -> str:
    """``< 5.1 (upper bound)``."""
    return f"< {rounded_up(value)} (upper bound)"


def rounded_up(value: float) -> str:
    """Three significant digits, never less than ``value``: for upper bounds."""
    decimals = _decimals(value, 3)
    step = 10.0**-decimals
    return fixed(math.ceil(value / step - 1e-9) * step, decimals)


def milliseconds(value: float) -> str:
    """``0.512 ms``, or seconds from a thousand on."""
    return f"{significant(value / 1000)} s" if value >= 1000 else f"{significant(value)} ms"


def megabytes(size_bytes: float) -> str:
    """``0.79 MB`` in megabytes of 10^6 bytes."""
    return f"{significant(size_bytes / 1e6)} MB"


def counted(number: int) -> str:
    """``0.272M``: millions from a hundred thousand on, every one below."""
    return f"{significant(number / 1e6)}M" if number >= 100_000 else f"{number:,}"


def against(now: float, before: float | None) -> str:
    """``-50%``: a change against what was before; empty where it rounds to none."""
    share = 0.0 if not before else (now / before - 1) * 100
    text = fixed(share, 1 if -100 < share < -99 else 0, signed=True)
    return "" if text == "0" else f"{text}%"


def percent(share: float) -> str:
    """``1.2%`` for 0.012."""
    return f"{significant(share * 100, 2) if share < 0.1 else fixed(share * 100, 1)}%"


def speed(ratio: float) -> str:
    """A ratio of latencies in words: ``2.6x faster`` for 0.38."""
    faster = 1 / ratio
    factor, word = (faster, "faster") if ratio <= 1 else (ratio, "slower")
    if factor < 1.005:
        return "as fast"
    return f"{fixed(factor, 0 if factor >= 10 else 1 if factor >= 1.1 else 2)}x {word}"


def rounded_count(value: float, resolution: float) -> str:
    """A whole number, rounded to two digits of ``resolution``; thousands have commas."""
    step = 10.0 ** max(0, math.floor(math.log10(resolution)) - 1) if resolution > 0 else 1.0
    return f"{round(value / step) * step:,.0f}"


def code(name: str) -> str:
    """``name`` in backticks, whatever it contains."""
    name = " ".join(str(name).split())
    if "`" not in name:
        return f"`{name}`"
    return f"`` {name} ``"


def prose(text: str) -> str:
    """Text that mlopt or a library wrote, as one line of Markdown without markup or paths."""
    line = without_paths(" ".join(text.split()))
    return _TAG.sub("&lt;", _MARKUP.sub(r"\\\1", line))


def sentence(text: str) -> str:
    """``text`` as prose that starts with a capital letter and ends with a full stop."""
    line = ended(text)
    return line[0].upper() + line[1:] if re.match(r"[a-z]+\b", line) else line


def ended(text: str) -> str:
    """``text`` as prose that ends with a full stop."""
    line = prose(text)
    return line if not line or line.endswith((".", "!", "?")) else line + "."


def plural(count: int, noun: str) -> str:
    """``1 candidate``, ``2 candidates``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listing(items: Sequence[str]) -> str:
    """``a, b and c``; empty for none."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def shortened(name: str, longest: int) -> str:
    """``name`` with its middle left out where it is longer; its end tells most names apart."""
    if len(name) <= longest:
        return name
    head = (longest - 1) // 2
    return f"{name[:head]}…{name[head + 1 - longest :]}"


def _to_tens(estimate: Estimate) -> Estimate:
    """Numbers of four digits or more without a last digit that the interval does not support."""
    value, low, high = (
        None if v is None else round(v, -1) for v in (estimate.value, estimate.low, estimate.high)
    )
    return Estimate(value=value or 0.0, low=low, high=high)


def _joined(estimate: Estimate, decimals: int, *, signed: bool) -> str:
    value = fixed(estimate.value, decimals, signed=signed)
    if estimate.low is None or estimate.high is None:
        return value
    low = fixed(estimate.low, decimals, signed=signed)
    return f"{value} ({low} to {fixed(estimate.high, decimals, signed=signed)})"


def _decimals(value: float, digits: int) -> int:
    """Decimals that show ``digits`` significant digits of ``value``."""
    if value == 0:
        return digits
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))

"""What may have disturbed a measurement, each finding with what to do about it.

Ten things are looked at for every candidate, so a check must not cry wolf. Those that are tests
warn below a p-value of :data:`CERTAIN` (0.05 shared out by Bonferroni over fifty tests: three for
each of some sixteen measurements), and only where what they found is large enough to matter; the
others have a threshold whose reason stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mlopt import stats
from mlopt.types.measurement import Diagnostic, LaunchVitals

CERTAIN = 0.001
"""The p-value of a test below which it warns."""

DRIFT = 0.02
"""A change from the first round to the last below the gate's usual tolerance harms nobody."""

WALK = 0.6
"""The variance ratio of a random walk: neighbours have two fifths of their deviation in common. It is
1 for independent rounds; a mild autocorrelation, which leaves a level, lies between."""

WANDERING = 0.02
"""The same for the band that the blocks of a random walk keep to."""

APART = 0.05
"""How far apart two modes are: nearer than that, one launch differs from the next as much."""

RARE_MODE = 0.05
"""A mode with a smaller share of the blocks is a disturbance now and then, not a second level."""

UNSTABLE = 1.25
"""The 90th percentile of the blocks' medians over their 10th."""

STOLEN = 0.01
"""Of the time that was asked for. A theft strikes whole inferences, so that one in a hundred is
enough to make the p99 that of the hypervisor."""

THROTTLED = 0.01
"""Of the quota's periods, for the same reason: a throttled inference waits for the next period."""

SWITCHES_PER_S = 100.0
"""Of measured time. A neighbour that wants a whole processor takes it over for a slice of about 3 ms
at a time (the kernel's EEVDF scheduler, ``base_slice_ns``), which is 150 times a second and more;
the kernel's own threads come some ten times."""

FREQUENCY = 0.1
"""Of the highest clock. Less comes and goes with temperature, and moves a latency by less."""

OTHERS = 0.1
"""Of all usable processors. A pool as wide as the processors waits for the slowest of its threads,
so that others' share is the share of the time in which some thread waits."""

FEW_LAUNCHES = 3
"""With two, one degree of freedom is left for the spread between launches: t is 12.7."""

RANDOM_WALK = "random walk"
CLOSE_OTHERS = "close other programs, or measure on a machine of its own"
LEVEL = "the absolute figures hold for this schedule alone; trust the ratio, paired in each round"


def diagnose(
    rounds: stats.Rounds,
    vitals: Sequence[LaunchVitals] = (),
    launches: NDArray[np.int64] | None = None,
) -> tuple[Diagnostic, ...]:
    """Looks at everything that may have disturbed a measurement. Pure: the same every time.

    Args:
        rounds: The samples of one candidate, in milliseconds.
        vitals: The machine before and after each launch of the trial.
        launches: Cold start (ns), peak RSS (bytes) and involuntary context switches of the candidate,
            and nanoseconds of timed work, shape (L, 4), in the order of its launches; -1 where it was
            not counted.
    """
    return (
        _launches(rounds),
        _unstable(rounds),
        _drift(rounds),
        _random_walk(rounds),
        _modes(rounds),
        _steal(vitals),
        _throttling(vitals),
        _switches(launches),
        _frequency(vitals),
        _others(vitals),
    )


def warnings_of(diagnostics: Iterable[Diagnostic]) -> tuple[str, ...]:
    """Those that are amiss, each as one line."""
    return tuple(str(one) for one in diagnostics if one.status == "warning")


def wandered(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether a latency did a random walk: then no level of it exists, and only its ratios hold."""
    return any(one.name == RANDOM_WALK and one.status == "warning" for one in diagnostics)


def walked(rounds: stats.Rounds, diagnostics: Iterable[Diagnostic]) -> float | None:
    """The largest median of a block over the smallest; None where there was no random walk.

    Args:
        rounds: The samples of one candidate.
        diagnostics: What :func:`diagnose` found in them.
    """
    if not wandered(diagnostics):
        return None
    _, levels = rounds.block_medians()
    return float(levels.max() / levels.min())


def _launches(rounds: stats.Rounds) -> Diagnostic:
    count = rounds.launches
    return _found(
        "few launches",
        count < FEW_LAUNCHES,
        f"{count} launch{'' if count == 1 else 'es'}",
        "the spread between processes is hardly known; allow more time",
    )


def _unstable(rounds: stats.Rounds) -> Diagnostic:
    low, high = _band(rounds)
    return _found(
        "unstable",
        high > UNSTABLE * low,
        f"medians of blocks: {low:.3g} to {high:.3g} ms (p10 to p90)",
        f"trust the ratio, which is paired in each round, and {CLOSE_OTHERS}",
    )


def _drift(rounds: stats.Rounds) -> Diagnostic:
    found = stats.drift(rounds)
    if found is None:
        return _unknown("drift", "too few rounds to tell")
    return _found(
        "drift",
        found.p_value < CERTAIN and abs(found.change) > DRIFT,
        f"{_signed(found.change)} from the first round to the last (p {_p(found.p_value)})",
        f"the machine became {'slower' if found.change > 0 else 'faster'} while it was measured: let it "
        f"reach a steady temperature and {CLOSE_OTHERS}; {LEVEL}",
    )


def _random_walk(rounds: stats.Rounds) -> Diagnostic:
    found = stats.random_walk(rounds)
    if found is None:
        return _unknown(RANDOM_WALK, "too few rounds to tell")
    low, high = _band(rounds)
    width = (high - low) / max(low, 1e-12)
    return _found(
        RANDOM_WALK,
        found.p_value < CERTAIN and found.variance_ratio < WALK and width > WANDERING,
        f"variance ratio {found.variance_ratio:.3g} (p {_p(found.p_value)}), blocks within {width:.1%}",
        "the latency wanders, so no level exists to be estimated and only ratios are reported: the "
        f"absolute figures say where it happened to be; {CLOSE_OTHERS}, and measure for longer",
    )


def _modes(rounds: stats.Rounds) -> Diagnostic:
    found = stats.modes(rounds)
    if found is None:
        return _unknown("two modes", "too few rounds to tell")
    rare = min(found.share_low, 1 - found.share_low)
    apart = found.high / max(found.low, 1e-12) - 1
    two = found.p_value < CERTAIN and apart > APART and rare > RARE_MODE
    low = f"{found.low:.3g} ms in {found.share_low:.0%}"
    seen = f"{low}, {found.high:.3g} ms in {1 - found.share_low:.0%} of blocks"
    return _found(
        "two modes",
        two,
        seen if two else f"one level (p {_p(found.p_value)})",
        "the processor changes between two speeds, by its clock or by a neighbour on the same core: the "
        "p50 is that of the more frequent one; fix the frequency, or measure where nobody shares the core",
    )


def _steal(vitals: Sequence[LaunchVitals]) -> Diagnostic:
    stolen, busy = _growth(vitals, "steal_s"), _growth(vitals, "busy_s")
    if stolen is None or busy is None:
        return _unknown("steal", "not counted on this machine")
    share = stolen / (stolen + busy) if stolen > 0 else 0.0
    return _found(
        "steal",
        share > STOLEN,
        f"{share:.1%} of the time that was asked for",
        "the hypervisor gave it to other guests, and tails are its own: measure on a dedicated or a larger instance",
    )


def _throttling(vitals: Sequence[LaunchVitals]) -> Diagnostic:
    periods, throttled = _growth(vitals, "periods"), _growth(vitals, "throttled_periods")
    if periods is None or throttled is None:
        return _unknown("throttling", "no quota can be read on this machine")
    share = throttled / periods if periods > 0 else 0.0
    seconds = _growth(vitals, "throttled_s") or 0.0
    return _found(
        "throttling",
        share > THROTTLED,
        f"the quota ran out in {share:.1%} of its periods ({seconds:.2g} s)",
        "raise the container's CPU limit, or lower the threads of the sessions to what it allows",
    )


def _switches(launches: NDArray[np.int64] | None) -> Diagnostic:
    name = "preemption"
    counts = np.empty((0, 2), dtype=np.int64) if launches is None else launches[:, 2:]
    switches, timed_ns = counts[(counts[:, 0] >= 0) & (counts[:, 1] > 0)].sum(axis=0)
    if timed_ns == 0:
        return _unknown(name, "not counted on this machine")
    rate = switches / (timed_ns / 1e9)
    return _found(
        name,
        rate > SWITCHES_PER_S,
        f"{rate:.3g} times in a second of measured time",
        f"threads had to give their processor to others: {CLOSE_OTHERS}; or use fewer threads",
    )


def _frequency(vitals: Sequence[LaunchVitals]) -> Diagnostic:
    """Of the readings after work: before it, a processor may still be slowed down for idleness."""
    moments = [one.after for one in vitals]
    if len(moments) == 1:
        moments.insert(0, vitals[0].before)
    clocks = [one.mhz for one in moments if one.mhz is not None]
    if not clocks:
        return _unknown("frequency", "cannot be read on this machine")
    return _found(
        "frequency",
        max(clocks) - min(clocks) > FREQUENCY * max(clocks),
        f"{min(clocks):,.0f} MHz"
        if min(clocks) == max(clocks)
        else f"{min(clocks):,.0f} to {max(clocks):,.0f} MHz",
        "the processor changed its clock: set the governor 'performance', turn the boost off, or cool it",
    )


def _others(vitals: Sequence[LaunchVitals]) -> Diagnostic:
    total, busy, own = (_growth(vitals, name) for name in ("total_s", "busy_s", "own_s"))
    if total is None or busy is None or own is None or total <= 0:
        return _unknown("other load", "cannot be read on this machine")
    share = max(0.0, busy - own) / total
    return _found(
        "other load",
        share > OTHERS,
        f"others took {share:.0%} of the processors",
        CLOSE_OTHERS,
    )


def _growth(vitals: Sequence[LaunchVitals], name: str) -> float | None:
    """How far a counter went in all launches; None where it was not read in each."""
    pairs = [(getattr(one.before, name), getattr(one.after, name)) for one in vitals]
    if not pairs or any(None in pair for pair in pairs):
        return None
    return float(sum(after - before for before, after in pairs))


def _band(rounds: stats.Rounds) -> tuple[float, float]:
    """The 10th and the 90th percentile of the medians of the blocks."""
    _, medians = rounds.block_medians()
    low, high = np.quantile(medians, (0.1, 0.9))
    return float(low), float(high)


def _found(name: str, amiss: bool, seen: str, advice: str) -> Diagnostic:
    if amiss:
        return Diagnostic(name=name, status="warning", seen=seen, advice=advice)
    return Diagnostic(name=name, status="ok", seen=seen)


def _unknown(name: str, why: str) -> Diagnostic:
    return Diagnostic(name=name, status="unknown", seen=why)


def _p(value: float) -> str:
    return "< 0.001" if value < CERTAIN else f"{value:.2g}"


def _signed(share: float) -> str:
    return f"{share:+.1%}"

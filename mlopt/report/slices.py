"""What the chosen candidate lost in parts of the examples: the section and its sentences."""

from __future__ import annotations

import math
from typing import NamedTuple

from mlopt import stats
from mlopt.decision.slices import lost_beyond_margin
from mlopt.report.evidence import chosen, decisive
from mlopt.report.markdown import Table
from mlopt.report.quality import SHARES, amount, p_text, score_text
from mlopt.report.text import change, code, listing, plural, significant
from mlopt.types.measurement import Quality, SliceResult
from mlopt.types.run import Run

MOST_ROWS = 12
_LEVEL = 0.05


class SliceSection(NamedTuple):
    """The section of the report.

    Attributes:
        introduction: How many slices were looked at, and how to read them.
        table: The worst of them.
        notes: What they show, and what they cannot.
    """

    introduction: str
    table: Table
    notes: tuple[str, ...]


def slice_section(run: Run) -> SliceSection | None:
    """The chosen candidate's slices; None where there are none."""
    winner = chosen(run)
    evidence = None if winner is None else decisive(winner)
    quality = None if evidence is None else evidence.quality
    if quality is None or not quality.slices:
        return None
    notes = (_shown(run, quality), *_unable(quality.slices), *_missing(run, quality))
    return SliceSection(_introduction(run, quality), _table(quality.slices), notes)


def _introduction(run: Run, quality: Quality) -> str:
    count, metric = len(quality.slices), quality.slices[0].metric
    order = "the one that most surely lost stands first"
    if count > MOST_ROWS:
        order = f"the {MOST_ROWS} that most surely lost are shown"
    text = (
        f"{plural(count, 'slice')} of {quality.split} {'was' if count == 1 else 'were'} looked at; "
        f"{order}. A p-value is that of the slice having lost nothing (one-sided), adjusted for "
        f"{plural(count, 'slice')} by Holm. Slices decide nothing."
    )
    deciding = run.plan.margins[0].metric if run.plan.margins else metric
    if metric != deciding:
        text += (
            f" They have their {code(metric)}: {code(deciding)}, which decides, is not defined on "
            "every one of them."
        )
    return text


def _table(slices: tuple[SliceResult, ...]) -> Table:
    metric = slices[0].metric
    share = metric in SHARES
    rows = [
        (
            code(part.name),
            f"{part.examples:,}",
            score_text(part.value, share),
            change(part.delta.scaled(100) if share else part.delta),
            f"{part.examples} examples: nothing can be shown"
            if _too_few(part, len(slices))
            else p_text(part.p_value),
        )
        for part in slices[:MOST_ROWS]
    ]
    delta = "delta, points" if share else "delta"
    return Table(("slice", "examples", metric, delta, "p, adjusted"), tuple(rows))


def _shown(run: Run, quality: Quality) -> str:
    slices = quality.slices
    lost = [part for part in slices if part.p_value < _LEVEL]
    if not lost:
        text = "No slice shows a loss"
        return f"{text}, which does not mean that none lost."
    text = f"{plural(len(lost), 'slice')} surely lost: {listing([code(p.name) for p in lost[:5]])}"
    text += "" if len(lost) <= 5 else f" and {len(lost) - 5} more"
    worse = lost_beyond_margin(run.plan.margins, quality)
    if not worse:
        return f"{text}. None of them surely lost more than the margin of all examples together."
    share = slices[0].metric in SHARES
    least = [f"{code(p.name)} at least {amount(p.least_loss, share)}" for p in worse[:5]]
    return f"{text}. **More than the margin of all examples together**: {listing(least)}."


def _unable(slices: tuple[SliceResult, ...]) -> list[str]:
    """What the smallest slice could show at best; nothing is known of other metrics beforehand."""
    smallest = min(slices, key=lambda part: part.examples)
    if smallest.metric not in SHARES:
        return []
    least = stats.smallest_provable_drop(smallest.examples)
    return [
        f"The smallest slice is {code(smallest.name)}, of {plural(smallest.examples, 'example')}: even "
        f"where none of them changed, a loss of {significant(least * 100, 2)} points cannot be excluded."
    ]


def _missing(run: Run, quality: Quality) -> list[str]:
    found = {part.name for part in quality.slices}
    names = [code(name) for name in run.plan.slices if name not in found]
    if not names:
        return []
    metric = code(quality.slices[0].metric)
    return [f"{metric} is not defined on {listing(names)}, about which nothing is known."]


def _too_few(part: SliceResult, slices: int) -> bool:
    """Whether no p-value could be small even if every single example were lost."""
    return part.examples < math.log2(slices / _LEVEL)

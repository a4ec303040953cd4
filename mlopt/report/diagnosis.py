"""Why a model is as fast as it is: the tables and sentences of a diagnosis.

The terminal shows the same parts as the report, without Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mlopt.report.markdown import Table
from mlopt.report.text import (
    NONE,
    code,
    ended,
    listing,
    milliseconds,
    percent,
    plural,
    prose,
    sentence,
    significant,
)
from mlopt.types.diagnosis import Arithmetic, Diagnosis, NodeCost, OperatorCost

MOST_OPERATORS = 12
LONGEST_NAME = 48

NameStyle = Callable[[str], str]


class Part(NamedTuple):
    """A titled table of plain cells.

    Attributes:
        numbers: Positions of the columns that are aligned on the right.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


class DiagnosisSection(NamedTuple):
    """The section of the report.

    Attributes:
        introduction: How long an inference takes, and how that was seen.
        tables: Each with the words above it.
        findings: What is not in a table.
        advice: What to try next.
        notes: What a reader should know before trusting the numbers.
    """

    introduction: str
    tables: tuple[tuple[str, Table], ...]
    findings: tuple[str, ...]
    advice: tuple[str, ...]
    notes: tuple[str, ...]


def diagnosis_section(found: Diagnosis | None) -> DiagnosisSection | None:
    """The section; None where nothing was diagnosed."""
    if found is None:
        return None
    return DiagnosisSection(
        introduction=ended(headline(found)),
        tables=tuple(
            (part.title, Table(part.header, part.rows)) for part in parts(found, name=code)
        ),
        findings=tuple(sentence(words) for words in findings(found)),
        advice=tuple(f"{prose(one.action)}: {ended(one.because)}" for one in found.advice),
        notes=tuple(sentence(words) for words in found.notes),
    )


def headline(found: Diagnosis) -> str:
    """How long an inference takes, and how that was seen."""
    return (
        f"{milliseconds(found.p50_ms)} an inference on {found.provider}, batch {found.batch_size} "
        f"(median of a short run; {milliseconds(found.profiled_ms)} under the profiler, of which the "
        f"nodes explain {milliseconds(found.nodes_ms)})"
    )


def parts(found: Diagnosis, name: NameStyle = str) -> list[Part]:
    """The tables that have rows.

    Args:
        found: The diagnosis.
        name: How names of operators and nodes are written.
    """
    whole = [
        _operators(found, name),
        _slowest(found, name),
        _unfused(found, name),
        _without_kernel(found, name),
        _fallbacks(found, name),
    ]
    return [part for part in whole if part.rows]


def findings(found: Diagnosis) -> list[str]:
    """What stands in no table, as sentences without a full stop."""
    return [*_in_int8(found), *_islands(found), *_portable(found), *_roofline(found)]


def _operators(found: Diagnosis, name: NameStyle) -> Part:
    shown, rest = found.operators[:MOST_OPERATORS], found.operators[MOST_OPERATORS:]
    rows = [_operator(found, one, name) for one in shown]
    if rest:
        count, time = sum(o.nodes for o in rest), sum(o.time_ms for o in rest)
        share = percent(sum(o.share for o in rest))
        rows.append((f"{len(rest)} others", "", str(count), milliseconds(time), share, "", ""))
    header = ("operator", "provider", "nodes", "time", "share", "GMAC/s", "of peak")
    return Part("Where the time goes", header, tuple(rows), frozenset(range(2, 7)))


def _operator(found: Diagnosis, one: OperatorCost, name: NameStyle) -> tuple[str, ...]:
    return (
        name(one.operator),
        one.provider.removesuffix("ExecutionProvider"),
        str(one.nodes),
        milliseconds(one.time_ms),
        percent(one.share),
        *_reached(found, one.gmacs_per_s, one.arithmetic),
    )


def _reached(found: Diagnosis, rate: float | None, kind: Arithmetic | None) -> tuple[str, str]:
    """A rate, and what it is of the peak of its arithmetic; empty where it is not known."""
    if rate is None:
        return "", ""
    peak = found.peaks.of(kind)
    return significant(rate), "" if not peak else f"{rate / peak:.0%} {kind}"


def _slowest(found: Diagnosis, name: NameStyle) -> Part:
    rows = [
        (
            name(_shortened(one.name)),
            name(one.operator),
            milliseconds(one.time_ms),
            percent(one.share),
            "" if one.macs_per_byte is None else significant(one.macs_per_byte, 2),
            *_reached(found, one.gmacs_per_s, one.arithmetic),
            _bound(found, one),
        )
        for one in found.slowest
        if one.macs or len(found.slowest) > 1  # else it is the line of the table above
    ]
    header = ("node", "operator", "time", "share", "MAC/byte", "GMAC/s", "of peak", "limit")
    return Part("The slowest nodes", header, tuple(rows), frozenset(range(2, 7)))


def _bound(found: Diagnosis, one: NodeCost) -> str:
    """What a roofline of this machine allows such a node to be limited by."""
    peak, memory = found.peaks.of(one.arithmetic), found.peaks.memory_gb_per_s
    if peak is None or not memory or one.macs_per_byte is None:
        return ""
    return "memory" if one.macs_per_byte < peak / memory else "arithmetic"


def _unfused(found: Diagnosis, name: NameStyle) -> Part:
    rows = [
        (
            str(one.count),
            name(one.operator) if one.operator else NONE,
            milliseconds(one.time_ms),
            one.because,
            _names(one.nodes, name),
        )
        for one in found.unfused
    ]
    header = ("Q/DQ", "beside", "time", "because", "such as")
    title = "QuantizeLinear and DequantizeLinear that were not fused"
    return Part(title, header, tuple(rows), frozenset({0, 2}))


def _without_kernel(found: Diagnosis, name: NameStyle) -> Part:
    rows = [
        (name(one.operator), str(one.nodes), milliseconds(one.time_ms), percent(one.share))
        for one in found.without_kernel
    ]
    header = ("operator", "nodes", "time", "share")
    return Part("Operators without an INT8 kernel", header, tuple(rows), frozenset({1, 2, 3}))


def _fallbacks(found: Diagnosis, name: NameStyle) -> Part:
    rows = [
        (
            name(one.operator),
            str(one.count),
            one.provider.removesuffix("ExecutionProvider"),
            _names(one.nodes, name),
        )
        for one in found.fallbacks
    ]
    title = f"Nodes that fell back from {found.provider}"
    return Part(title, ("operator", "nodes", "ran on", "such as"), tuple(rows), frozenset({1}))


def _names(nodes: tuple[str, ...], name: NameStyle, most: int = 2) -> str:
    return ", ".join(name(_shortened(node)) for node in nodes[:most])


def _shortened(node: str) -> str:
    """The end of a long name, which tells most nodes apart."""
    return node if len(node) <= LONGEST_NAME else f"…{node[1 - LONGEST_NAME :]}"


def _in_int8(found: Diagnosis) -> Iterator[str]:
    if found.fused:
        kinds = listing([f"{count} {operator}" for operator, count in found.fused.items()])
        yield f"in INT8 run {kinds}"
    total = sum(found.macs.values())
    if total and found.macs.get("int8"):
        yield f"{percent(found.macs['int8'] / total)} of the multiply-accumulates are in INT8"


def _islands(found: Diagnosis) -> Iterator[str]:
    seen = found.islands
    if seen is not None:
        types = [f"{count} {operator}" for operator, count in list(seen.operators.items())[:6]]
        yield (
            f"{plural(seen.count, 'island')} of float between INT8 operators ({', '.join(types)}) "
            f"{'takes' if seen.count == 1 else 'take'} {milliseconds(seen.time_ms)}, and the Q/DQ around"
        )


def _portable(found: Diagnosis) -> Iterator[str]:
    if found.portability is not None:
        yield f"INT8 on other processors: {found.portability.verdict}"


def _roofline(found: Diagnosis) -> Iterator[str]:
    total, reached = sum(found.macs.values()), found.gmacs_per_s
    if reached is not None:
        words = f"an inference multiplies {significant(total / 1e6)} million times"
        if found.bytes_moved:
            words += (
                f", {significant(total / found.bytes_moved, 2)} times for each byte that nodes move"
            )
        words += f", and reaches {significant(reached)} GMAC/s"
        if (share := found.int8_peak_share) is not None:
            words += f": {percent(share)} of the INT8 peak"
        yield words
    peaks = found.peaks
    measured = {
        "INT8": (peaks.int8_gmacs_per_s, "GMAC/s"),
        "float": (peaks.float_gmacs_per_s, "GMAC/s"),
        "memory": (peaks.memory_gb_per_s, "GB/s"),
    }
    known = [f"{k} {significant(v)} {unit}" for k, (v, unit) in measured.items() if v is not None]
    if known:
        yield f"peaks of this machine: {', '.join(known)} ({peaks.how}; 1 MAC is 2 operations)"
    elif peaks.how:
        yield f"peaks of this machine: {peaks.how}"

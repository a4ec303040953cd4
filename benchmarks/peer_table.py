"""``docs/peers.md``: the tables of what ``peers.py`` found, from the results beside this file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlopt.types.privacy import without_paths

RESULTS = Path(__file__).with_name("peers")
"""A file for each model: what is compared on another day, or another machine, joins the table."""

TABLE = Path(__file__).resolve().parents[1] / "docs" / "peers.md"
MLOPT = "mlopt's choice"

MOST_RATIO, MEAN_RATIO = 1.03, 0.85
"""What is asked for: the upper bound of the ratio on any model, and the geometric mean of them all."""

LEAST_LOSS = 1e-4
"""What rounding costs of the agreement: the choice of mlopt may be so much below the fastest peer."""

REASONS = ("absent", "failed")
"""Why a member was not timed."""

Result = dict[str, Any]
"""What is kept of a model."""


def keep(result: Result) -> None:
    """Puts a result in the place of an earlier one of the same model, without paths of the machine."""
    RESULTS.mkdir(exist_ok=True)
    members = {
        name: {key: _words(value) if key in REASONS else value for key, value in one.items()}
        for name, one in result["members"].items()
    }
    text = json.dumps(result | {"members": members}, indent=1, sort_keys=True) + "\n"
    (RESULTS / f"{result['model']}.json").write_text(text, encoding="utf-8")


def write(names: Sequence[str]) -> None:
    """Writes the tables of the models that have a result.

    Args:
        names: Of the models, in the order of the tables.
    """
    files = [RESULTS / f"{name}.json" for name in names]
    found = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.exists()]
    if found:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text("\n".join(document(found, names)) + "\n", encoding="utf-8")


def document(found: Sequence[Result], names: Sequence[str]) -> Iterator[str]:
    """The lines of the page.

    Args:
        found: The results of the models, in their order.
        names: Of the models that are to be compared.
    """
    yield "# What a user would pick instead"
    yield ""
    yield (
        f"Made by `python benchmarks/peers.py`, at batch size 1, {_dates(found)}, {_machines(found)}. Each "
        "model is one interleaved run of mlopt's choice, the fastest peers of a first look, and eager PyTorch. A ratio "
        "is the p50 of mlopt's choice over the other's, paired in each round, with its 95% interval: below "
        "1 mlopt's is faster. Every peer is used as its documentation does, from the same fp32 file and "
        "the same calibration data."
    )
    yield ""
    if random := [one["model"] for one in found if one["random"]]:
        yield (
            f"The weights of {', '.join(random)} are random: nothing is trained there, and what is scored "
            "is the agreement with the fp32 outputs, 1 less the relative error. mlopt may lose as much of "
            "it as the fastest peer of the first look does."
        )
        yield ""
    yield (
        "The samples have the margins and the budgets of their projects: a peer whose file is larger than "
        "the budget allows is shown, and not compared with. mlopt may train there, as its user would; the "
        "peers have no such step. Scores are those on the holdout, which nothing is chosen by."
    )
    yield ""
    yield from _summary(found)
    yield ""
    yield from targets(found)
    if missing := [name for name in names if name not in {one["model"] for one in found}]:
        yield ""
        yield f"Not compared yet: {', '.join(missing)}."
    for one in found:
        yield from _model(one, name_machine=len(_distinct(found)) > 1)
    yield ""
    yield "## Versions"
    yield ""
    versions: dict[str, str] = {}
    for one in found:
        versions |= one["versions"]
    yield ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + "."


def targets(found: Sequence[Result]) -> Iterator[str]:
    """What is asked of mlopt's choice, and whether that is reached, line by line.

    Args:
        found: The results of the models.
    """
    slower = {one["model"]: _ratio(one)["high"] for one in found}
    over = [f"{name} ({high:.3f})" for name, high in slower.items() if high > MOST_RATIO]
    value, low, high = geometric_mean([_ratio(one) for one in found])
    verdicts = {one["model"]: one["members"][MLOPT].get("verdict") for one in found}
    unproven = [f"{n} ({v})" for n, v in verdicts.items() if v is not None and v != "PASS"]
    worse = [
        f"{one['model']} ({_interval(one['members'][MLOPT]['over_fastest'], '+.4f')})"
        for one in found
        if one["random"] and _lost_to_peer(one["members"][MLOPT]) > LEAST_LOSS
    ]
    number = f"{len(found)} model" + ("s" if len(found) > 1 else "")
    yield "What is asked for, and whether it is reached:"
    yield ""
    yield (
        f"- Not slower than the fastest peer on any of {number}, the upper end of the ratio being at most "
        f"{MOST_RATIO}: {_reached(over)}."
    )
    yield (
        f"- The geometric mean of the ratios at most {MEAN_RATIO}: it is {value:.3f} ({low:.3f} to "
        f"{high:.3f}), {'reached' if value <= MEAN_RATIO else '**not reached**'}."
    )
    yield (
        "- On the samples, a PASS of the delta to eager PyTorch at the margin that the holdout can prove: "
        f"{_reached(unproven)}."
    )
    if any(one["random"] for one in found):
        yield (
            "- On random weights, agreement with the fp32 outputs no worse than the fastest peer's: "
            f"{_reached(worse)}."
        )


def geometric_mean(ratios: Sequence[dict[str, float]]) -> tuple[float, float, float]:
    """The geometric mean of independent ratios and its 95% interval, on the scale of logarithms.

    Args:
        ratios: Each with ``value``, ``low`` and ``high``.
    """
    logs = [math.log(one["value"]) for one in ratios]
    halves = [(math.log(one["high"]) - math.log(one["low"])) / 2 for one in ratios]
    mean = sum(logs) / len(logs)
    half = math.sqrt(sum(h * h for h in halves)) / len(halves)
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def _ratio(one: Result) -> dict[str, float]:
    """The ratio of mlopt's choice to the fastest peer."""
    ratio: dict[str, float] = one["members"][one["fastest_peer"]]["ratio"]
    return ratio


def _lost_to_peer(ours: dict[str, Any]) -> float:
    """How much worse mlopt's choice scores than the fastest peer."""
    delta = float(ours["over_fastest"]["value"])
    return -delta if ours["higher_is_better"] else delta


def _reached(exceptions: Sequence[str]) -> str:
    return f"**not reached** by {', '.join(exceptions)}" if exceptions else "reached"


def _summary(found: Sequence[Result]) -> Iterator[str]:
    yield (
        "| model | mlopt's choice | p50, ms | fastest peer | p50, ms | mlopt's choice over it | "
        "score less the peer's |"
    )
    yield "|---|---|---:|---|---:|---|---|"
    for one in found:
        ours, peer = one["members"][MLOPT], one["members"][one["fastest_peer"]]
        yield (
            f"| {one['model']} | `{ours['candidate']}` | {_number(ours['p50_ms']['value'])} | "
            f"{one['fastest_peer']} | {_number(peer['p50_ms']['value'])} | "
            f"{_interval(peer['ratio'], '.3f')} | {_interval(ours['over_fastest'], '+.4f')} |"
        )


def _machine(one: Result) -> str:
    machine = one["machine"]
    return f"{machine['cpus']} processors of an {machine['cpu']} ({', '.join(machine['flags'])})"


def _distinct(found: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(map(_machine, found)))


def _machines(found: Sequence[Result]) -> str:
    machines = _distinct(found)
    if len(machines) == 1:
        return f"on {machines[0]}"
    return f"on {len(machines)} machines, of which each model names its own"


def _model(one: Result, *, name_machine: bool) -> Iterator[str]:
    members = one["members"]
    ours = members[MLOPT]
    yield ""
    yield f"## {one['model']}"
    yield ""
    yield f"| | p50, ms | mlopt's choice over it | {ours['metric']} | delta to eager PyTorch |"
    yield "|---|---:|---|---:|---|"
    for name in sorted(members, key=lambda name: (name != MLOPT, *_place(members[name]))):
        yield _row(name, members[name])
    yield ""
    words = f"{one['launches']} launches with {one['rounds']} rounds in all."
    if "verdict" in ours:
        words += (
            f" At the margin of {ours['margin']:g} that its holdout can prove, mlopt's choice is "
            f"{ours['verdict']}."
        )
    if name_machine:
        words += f" On {_machine(one)}, {one['finished']}."
    yield words
    session = one["settings"]
    settings = ", ".join(f"{name} {value}" for name, value in session["settings"].items())
    yield (
        f"mlopt's choice is `{ours['candidate']}`, on the provider `{session['provider']}` with {settings}."
    )


def _place(member: dict[str, Any]) -> tuple[int, float]:
    """Where a row stands: those of the final run first, then those of the first look, the fastest first."""
    if "failed" in member or "absent" in member:
        return 2, math.inf
    if "p50_ms" in member:
        return 0, float(member["p50_ms"]["value"])
    return 1, float(member["first_look_ms"])


def _row(name: str, member: dict[str, Any]) -> str:
    for kind in REASONS:
        if kind in member:
            return f"| {name} | {kind}: {_cell(member[kind])} | | | |"
    if "p50_ms" in member:
        p50 = _interval(member["p50_ms"])
        ratio = "" if name == MLOPT else _interval(member["ratio"], ".3f")
    else:
        p50, ratio = f"{_number(member['first_look_ms'])}, first look only", ""
    value, delta = f"{member['value']:.4f}", _interval(member["delta"], "+.4f")
    if not member.get("keeps_size", True):
        name += f" ({member['size_bytes'] / 1e6:.2g} MB: over the budget)"
    return f"| {name} | {p50} | {ratio} | {value} | {delta} |"


def _words(text: str) -> str:
    """Text on one line, without the directories of the machine it was written on."""
    return without_paths(" ".join(text.split()))


def _cell(text: str) -> str:
    """Text that fits into a cell."""
    return _words(text).replace("|", "\\|")[:200]


def _number(value: float) -> str:
    return f"{value:.3g}"


def _interval(estimate: dict[str, float | None], form: str = ".3g") -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{value:{form}}"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def _dates(found: Sequence[Result]) -> str:
    dates = sorted({one["finished"] for one in found})
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"

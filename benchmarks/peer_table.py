"""``docs/peers.md``: the table of what ``peers.py`` found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SAMPLES = ("digits_resnet", "digits_bert", "breast_cancer_mlp")
TABLE = Path(__file__).resolve().parents[1] / "docs" / "peers.md"
MLOPT = "mlopt's choice"

MOST_RATIO, MEAN_RATIO = 1.03, 0.85
"""What is asked for: the upper bound of the ratio on any model, and the geometric mean of them all."""


def write(work: Path, names: Sequence[str]) -> None:
    """Writes the table of the models that have a result.

    Args:
        work: Directory of ``peers.py``.
        names: Of the models, in the order of the table.
    """
    files = [work / name / "result.json" for name in names]
    found = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.exists()]
    if found:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text("\n".join(_lines(found)) + "\n", encoding="utf-8")


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


def _lines(found: list[dict[str, Any]]) -> Iterator[str]:
    machine = found[0]["machine"]
    yield "# What a user would pick instead"
    yield ""
    yield (
        f"Made by `python benchmarks/peers.py` on {machine['cpus']} of the processors of an "
        f"{machine['cpu']}, batch 1, {_dates(found)}. Each model is one interleaved run; a ratio is the "
        "p50 of mlopt's choice over the other's, paired in each round, with its 95% interval: below 1 "
        "mlopt's is faster. ResNet-50, MobileNetV2, ViT-S and BERT-base have random weights, and no "
        "pass that trains is tried; mlopt may lose as much of the agreement with the fp32 outputs as "
        "the fastest peer does. The samples have the margins of their projects."
    )
    yield ""
    yield from _summary(found)
    for one in found:
        yield from _model(one)
    yield ""
    yield "## Versions"
    yield ""
    versions: dict[str, str] = {}
    for one in found:
        versions |= one["versions"]
    yield ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + "."


def _summary(found: list[dict[str, Any]]) -> Iterator[str]:
    yield "| model | mlopt's choice | p50, ms | fastest peer | p50, ms | ratio | at most 1.03 |"
    yield "|---|---|---:|---|---:|---|---|"
    for one in found:
        ours, peer = one["members"][MLOPT], one["members"][one["fastest_peer"]]
        kept = "yes" if peer["ratio"]["high"] <= MOST_RATIO else "**no**"
        yield (
            f"| {one['model']} | `{ours['candidate']}` | {_number(ours['p50_ms']['value'])} | "
            f"{one['fastest_peer']} | {_number(peer['p50_ms']['value'])} | {_interval(peer['ratio'], '.3f')} | "
            f"{kept} |"
        )
    value, low, high = geometric_mean(
        [one["members"][one["fastest_peer"]]["ratio"] for one in found]
    )
    kept = "which is" if value <= MEAN_RATIO else "which is **not**"
    yield ""
    yield (
        f"The geometric mean of the ratios over the {len(found)} models is {value:.3f} ({low:.3f} to "
        f"{high:.3f}), {kept} at most {MEAN_RATIO}."
    )


def _model(one: dict[str, Any]) -> Iterator[str]:
    members = one["members"]
    metric = next((m["metric"] for m in members.values() if "metric" in m), "metric")
    yield ""
    yield f"## {one['model']}"
    yield ""
    yield f"| | p50, ms | mlopt's choice over it | {metric} | delta to eager PyTorch |"
    yield "|---|---:|---|---:|---|"
    order = sorted(members, key=lambda name: (name != MLOPT, _place(members[name])))
    for name in order:
        yield _row(name, members[name])
    ours = members[MLOPT]
    if "verdict" in ours:
        yield ""
        yield (
            f"At the margin of {ours['margin']:g} that its holdout can prove, mlopt's choice is "
            f"{ours['verdict']}."
        )
    yield ""
    yield f"Session of mlopt's choice: `{json.dumps(one['settings'])}`."


def _place(member: dict[str, Any]) -> float:
    if "p50_ms" in member:
        return float(member["p50_ms"]["value"])
    return float(member.get("first_look_ms", math.inf))


def _row(name: str, member: dict[str, Any]) -> str:
    if "absent" in member:
        return f"| {name} | absent: {_cell(member['absent'])} | | | |"
    if "failed" in member:
        return f"| {name} | failed: {_cell(member['failed'])} | | | |"
    if "p50_ms" in member:
        p50, ratio = _interval(member["p50_ms"]), _interval(member["ratio"], ".3f")
    else:
        p50, ratio = f"{_number(member['first_look_ms'])}, first look only", ""
    ratio = "" if name == MLOPT else ratio
    value = f"{member['value']:.4f}" if "value" in member else ""
    delta = _interval(member["delta"], "+.4f") if "delta" in member else ""
    return f"| {name} | {p50} | {ratio} | {value} | {delta} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:160]


def _number(value: float) -> str:
    return f"{value:.3g}"


def _interval(estimate: dict[str, float | None], form: str = ".3g") -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if low is None or high is None:
        return f"{value:{form}}"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def _dates(found: list[dict[str, Any]]) -> str:
    dates = sorted({one["finished"] for one in found})
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"

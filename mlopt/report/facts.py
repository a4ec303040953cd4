"""Parameters and facts of a step in words: what pruning removed and left, what training did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlopt.report.quality import SHARES, score_text
from mlopt.report.text import against, counted, plural, significant
from mlopt.report.training import TRAINING, Training, read_training
from mlopt.types.artifact import LineageStep
from mlopt.types.privacy import without_paths

_LONGEST_VALUE = 160
_MOST_ENTRIES = 6


def value_text(value: Any) -> str:
    """A parameter or a fact, short enough for a sentence."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.1e}" if value and abs(value) < 1e-3 else f"{value:.6g}"
    if isinstance(value, dict):
        return _listed([_entry(key, item) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return _listed([value_text(item) for item in value])
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    text = " ".join(without_paths(str(value)).split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def facts_text(step: LineageStep) -> list[str]:
    """All facts of a step, each in a few words."""
    facts = dict(step.facts)
    found = [*_cost(facts), *_removed(facts), *_left(facts), *_training(facts)]
    return [*(f"{key.replace('_', ' ')} {value_text(item)}" for key, item in facts.items()), *found]


def _cost(facts: dict[str, Any]) -> list[str]:
    """Parameters and MACs, with those before; takes what it tells out of ``facts``."""
    if not isinstance(facts.get("macs"), int):
        return []
    found = []
    for name, label in (("parameters", "parameters"), ("macs", "MACs")):
        now, before = facts.pop(name, None), facts.pop(f"{name}_before", None)
        if not isinstance(now, int):
            continue
        if isinstance(before, int) and before != now:
            share = against(now, before)
            found.append(
                f"{label} {counted(before)} to {counted(now)}" + (f" ({share})" if share else "")
            )
        else:
            found.append(f"{label} {counted(now)}")
    return found


def _removed(facts: dict[str, Any]) -> list[str]:
    """What pruning removed: ``{layer: [channels before, channels after]}``."""
    removed = facts.get("removed")
    if not isinstance(removed, Mapping) or not all(_is_pair(v) for v in removed.values()):
        return []
    del facts["removed"]
    if not removed:
        return ["nothing was removed"]
    gone = sum(before - after for before, after in removed.values())
    total = sum(before for before, _ in removed.values())
    layers = _listed([f"{name} {before} to {after}" for name, (before, after) in removed.items()])
    return [f"removed {gone:,} of {total:,} channels in {plural(len(removed), 'layer')}: {layers}"]


def _left(facts: dict[str, Any]) -> list[str]:
    """What pruning left as it was, and why: ``[{"layers": [...], "reason": "..."}]``."""
    left = facts.get("left")
    if not isinstance(left, list) or not all(_is_reasoned(entry) for entry in left):
        return []
    del facts["left"]
    return [
        f"left {_listed([str(name) for name in entry['layers']])} as before, because {entry['reason']}"
        for entry in left
    ]


def _training(facts: dict[str, Any]) -> list[str]:
    training = read_training(facts)
    if training is None:
        return []
    del facts[TRAINING]
    found = [_effort(training)]
    if training.best == 0:
        found.append(f"kept the weights that came in, as no epoch was better{_best(training)}")
    elif training.best is not None:
        which = "last" if training.validation_examples == 0 else "best"
        found.append(f"kept the {which} epoch, {training.best}{_best(training)}")
    return found


def _effort(training: Training) -> str:
    text = f"trained {plural(len(training.epochs), 'epoch')}"
    if training.stopped_early:
        text += ", stopped early,"
    if training.examples is not None:
        text += f" on {plural(training.examples, 'example')}"
    if training.validation_examples:
        text += f" (validated on {training.validation_examples:,} others)"
    if training.seconds is not None:
        text += f" in {significant(training.seconds, 2)} s"
    return text


def _best(training: Training) -> str:
    if training.best_score is None:
        return ""
    share = training.metric in SHARES
    text = f": validation {training.metric} {score_text(training.best_score, share)}"
    if training.teacher_score is not None:
        text += f" (the teacher's: {score_text(training.teacher_score, share)})"
    return text


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(part, int) for part in value)
    )


def _is_reasoned(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping) and isinstance(entry.get("layers"), list) and "reason" in entry
    )


def _entry(key: str, value: Any) -> str:
    return f"{key}: {value_text(value)}" if isinstance(value, str) else f"{key} {value_text(value)}"


def _listed(items: list[str]) -> str:
    if not items:
        return "none"
    more = len(items) - _MOST_ENTRIES
    shown = ", ".join(items[:_MOST_ENTRIES])
    return f"{shown} and {more} more" if more > 0 else shown

"""The plot of the training runs: loss and validation score by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mlopt.report.canvas import INK, LOOKS, new_figure, plain_axes, svg_bytes
from mlopt.report.quality import is_share, score_text
from mlopt.report.text import listing, shortened
from mlopt.report.training import Curve, Epoch, Training, curves
from mlopt.types.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_RUNS = 8
_RUN_IN = 1.8
_PLOT_IN = 1.1
_BOTTOM_IN = 0.66
_SPARE_IN = 0.36
"""What the first run has above it beyond its title."""
_TRAINING, _VALIDATION, _KEPT = (LOOKS[k].color for k in ("candidate", "reference", "chosen"))


def draw_curves(run: Run) -> bytes | None:
    """The plot as SVG; None for a run in which nothing was trained."""
    found = curves(run)
    if not found:
        return None
    drawn = found[:MOST_RUNS]
    height = _BOTTOM_IN + _RUN_IN * len(drawn) - _SPARE_IN
    figure = new_figure(height)
    for row, curve in enumerate(drawn):
        bottom = (_BOTTOM_IN + _RUN_IN * (len(drawn) - 1 - row)) / height
        figure.text(0.01, bottom + (_PLOT_IN + 0.16) / height, curve_title(curve), fontsize=8.5)
        left = figure.add_axes((0.08, bottom, 0.40, _PLOT_IN / height))
        right = figure.add_axes((0.59, bottom, 0.40, _PLOT_IN / height))
        _losses(left, curve)
        _scores(right, run, curve, drawn)
        if row == len(drawn) - 1:
            left.set_xlabel("epoch")
            right.set_xlabel("epoch")
    figure.text(0.01, 0.04 / height, _caption(len(found) - len(drawn)), fontsize=8, va="bottom")
    return svg_bytes(figure)


def curves_in_words(run: Run) -> str:
    """What a reader who does not see the plot should know."""
    found = dict.fromkeys(_in_words(curve) for curve in curves(run)[:MOST_RUNS])
    return f"Loss and validation score by epoch: {'; '.join(found)}"


def curve_title(curve: Curve) -> str:
    """``distill after prune_channels (prune-distill, prune-distill-int8)``."""
    *before, last = curve.steps
    after = f" after {listing(before)}" if before else ""
    names = [shortened(name, 40) for name in curve.candidates[:2]]
    more = len(curve.candidates) - len(names)
    return f"{last}{after} ({', '.join(names)}{f' and {more} more' if more else ''})"


def _in_words(curve: Curve) -> str:
    *before, last = curve.steps
    after = f" after {listing(before)}" if before else ""
    epochs = len(curve.training.epochs)
    best = curve.training.best
    kept = "" if best is None else f", epoch {best} kept"
    return f"{last}{after}, {epochs} epoch{'' if epochs == 1 else 's'}{kept}"


def _caption(missing: int) -> str:
    text = "epoch 0 is the model as it came in; it and the first scores may lie beyond the axes; scores have one scale"
    return f"{text}; {missing} more training runs are not drawn" if missing else text


def _losses(axes: Axes, curve: Curve) -> None:
    training = curve.training
    _base(axes, curve)
    _line(axes, training.points, lambda e: e.loss, _TRAINING, "-", "training")
    _line(axes, training.points, lambda e: e.validation_loss, _VALIDATION, "--", "validation")
    losses = [v for e in training.epochs for v in (e.loss, e.validation_loss) if v is not None]
    if losses and training.start is not None:  # it may be far above, and would flatten the rest
        room = 0.1 * (max(losses) - min(losses)) or 0.5
        axes.set_ylim(min(losses) - room, max(losses) + room)
    axes.set_ylabel("loss")
    axes.legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)


def _scores(axes: Axes, run: Run, curve: Curve, drawn: Sequence[Curve]) -> None:
    """Validation scores; runs that are scored alike have one scale, so that they can be compared."""
    training = curve.training
    if all(epoch.score is None for epoch in training.points):
        axes.axis("off")
        words = "no validation part:\nthe last epoch was kept"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, fontsize=8, ha="center", va="center")
        return
    share = is_share(run, training.metric)
    factor = 100.0 if share else 1.0
    _base(axes, curve)

    def score(epoch: Epoch) -> float | None:
        return None if epoch.score is None else epoch.score * factor

    _line(axes, training.points, score, _VALIDATION, "--", "validation")
    if training.teacher_score is not None:
        level = training.teacher_score * factor
        axes.axhline(level, color=INK, linewidth=1.0, linestyle=(0, (1, 2)))
        words = f"the teacher: {score_text(training.teacher_score, share)}"
        axes.annotate(
            words,
            (0.01, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
        )
    if training.best is not None and training.best_score is not None:
        place = (training.best, training.best_score * factor)
        axes.plot(*place, "*", color=_KEPT, markersize=11, zorder=4)
        _kept(axes, training, score_text(training.best_score, share))
    axes.set_ylim(*_score_range(training.metric, factor, drawn))
    axes.set_ylabel(f"validation\n{training.metric}" + (", %" if share else ""))


def _kept(axes: Axes, training: Training, score: str) -> None:
    """Which epoch was kept, in the corner that the curve leaves free."""
    scores = [epoch.score for epoch in training.points if epoch.score is not None]
    rises = (training.best_score or 0.0) >= sum(scores) / len(scores)
    axes.text(
        0.99,
        0.05 if rises else 0.95,
        f"kept: epoch {training.best}, {score}",
        transform=axes.transAxes,
        fontsize=8,
        ha="right",
        va="bottom" if rises else "top",
        color=_KEPT,
    )


def _score_range(metric: str, factor: float, drawn: Sequence[Curve]) -> tuple[float, float]:
    """The later half of every run, and what is marked; what the first epochs score may lie beyond."""
    runs = [curve.training for curve in drawn if curve.training.metric == metric]
    everything = [epoch.score for run in runs for epoch in run.points]
    late = [e.score for run in runs for e in run.epochs[len(run.epochs) // 2 :]]
    marked = [score for run in runs for score in (run.best_score, run.teacher_score)]
    seen = [score * factor for score in (*everything, *marked) if score is not None]
    near = [score * factor for score in (*late, *marked) if score is not None] or seen
    if not near:
        return 0.0, factor
    span = max(near) - min(near) or 0.02 * factor
    low = max(min(near) - 0.8 * span, min(seen) - 0.1 * span)
    return low, min(max(near) + 0.8 * span, max(seen) + 0.15 * span)


def _base(axes: Axes, curve: Curve) -> None:
    from matplotlib.ticker import MaxNLocator

    plain_axes(axes)
    numbers = [epoch.number for epoch in curve.training.points]
    first, last = min(numbers), max(numbers)
    axes.set_xlim(first - 0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _line(
    axes: Axes,
    epochs: Sequence[Epoch],
    value: Callable[[Epoch], float | None],
    color: str,
    style: str,
    label: str,
) -> None:
    points = [(epoch.number, y) for epoch in epochs if (y := value(epoch)) is not None]
    if points:
        marker = "o" if len(points) < 3 else None
        axes.plot(*zip(*points, strict=True), style, color=color, marker=marker, label=label)

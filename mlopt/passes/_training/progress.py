"""What the user sees of a training while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from mlopt.passes._training.history import EpochResult

EVERY_S = 1.0
"""Between two messages within an epoch."""


class Seldom:
    """Passes a message on when the last one is long enough ago."""

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Passes messages on to ``say``; the clock is in seconds."""
        self._say = say
        self._clock = clock
        self._last = clock()

    def __call__(self, message: str) -> None:
        """Passes it on, or drops it."""
        if self._clock() - self._last >= EVERY_S:
            self._say(message)
            self._last = self._clock()


class Progress:
    """Says where a training is, how it fares, and how long it will still take."""

    def __init__(
        self,
        emit: Callable[[str, float], None],
        epochs: int,
        steps: int,
        metric: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
            emit: Takes a message and the share of the training that is done.
            epochs: Of the whole training.
            steps: In an epoch.
            metric: Name of the validation score.
            clock: In seconds.
        """
        self._emit = emit
        self._epochs = epochs
        self._steps = steps
        self._metric = metric
        self._clock = clock
        self._started = self._last = clock()
        self._done_before = 0
        self._score: float | None = None

    def resume(self, last: EpochResult) -> None:
        """Notes what an earlier process has done: it says nothing of this one's speed."""
        self._done_before = last.epoch * self._steps
        self._score = last.validation_score
        self._emit(
            f"going on after epoch {last.epoch} of {self._epochs}", last.epoch / self._epochs
        )

    def step(self, epoch: int, step: int, loss: float) -> None:
        """After a step of an epoch: says something once in a while.

        Args:
            epoch: From 1.
            step: Steps of this epoch that are done.
            loss: Mean so far in this epoch.
        """
        if self._clock() - self._last >= EVERY_S:
            self._say(epoch, (epoch - 1) * self._steps + step, loss)

    def epoch(self, result: EpochResult) -> None:
        """After an epoch and its validation."""
        assert result.loss is not None
        self._score = result.validation_score
        self._say(result.epoch, result.epoch * self._steps, result.loss)

    def _say(self, epoch: int, done: int, loss: float) -> None:
        self._last = self._clock()
        whole = self._epochs * self._steps
        parts = [f"loss {loss:.3g}"]
        if self._score is not None:
            parts.append(f"validation {shown_score(self._metric, self._score)}")
        if (here := done - self._done_before) > 0 and done < whole:
            left = (self._last - self._started) / here * (whole - done)
            parts.append(f"{_duration(left)} left")
        self._emit(f"epoch {epoch} of {self._epochs}: {', '.join(parts)}", done / whole)


def shown_score(metric: str, score: float) -> str:
    """``accuracy 97.2%`` or ``r2 0.512``."""
    percent = metric in {"accuracy", "token_accuracy", "exact_match"}
    return f"{metric.replace('_', ' ')} {f'{score:.1%}' if percent else f'{score:.3g}'}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

"""How long, how fast and on what part of the data a model trains."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from mlopt.machine import usable_cpus
from mlopt.types.record import Record

LEARNING_RATES = {"adamw": 1e-3, "sgd": 0.05}
"""What ``learning_rate: auto`` means: the usual starting points of the two."""

MOST_THREADS = 8
"""What ``threads: auto`` stops at: small models, which these are, gain nothing from more."""


class TrainingOptions(Record):
    """The options that all passes share which train; each explains them to its user."""

    epochs: Annotated[int, Field(gt=0)] = 12
    batch_size: Annotated[int, Field(gt=0)] = 50
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    patience: Annotated[int, Field(gt=0)] | None = 8
    threads: Annotated[int, Field(gt=0)] | Literal["auto"] = "auto"

    def choices(self) -> dict[str, Any]:
        """What each ``auto`` stands for here, by option.

        The number of threads decides how sums are cut, and so how they round. It becomes a
        parameter of the pass: artifacts of one key have the same bits.
        """
        rate = LEARNING_RATES[self.optimizer] if self.learning_rate == "auto" else None
        threads = min(usable_cpus(), MOST_THREADS) if self.threads == "auto" else None
        chosen = {"learning_rate": rate, "threads": threads}
        return {name: value for name, value in chosen.items() if value is not None}

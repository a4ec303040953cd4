"""What a trial has seen so far, on disk after each launch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.profiling.launch import Observed
from mlopt.profiling.samples import Samples
from mlopt.store.arrays import write_array
from mlopt.types.measurement import LaunchVitals, Placement
from mlopt.types.run import Failure


@dataclass
class Trial:
    """A trial, which candidates may join from launch to launch.

    Attributes:
        observed: Everything that was seen in it, of whoever was in it.
        launches: How many there have been.
        before: How many there had been when the candidates of now joined.
    """

    name: str
    observed: dict[str, Observed] = field(default_factory=dict)
    launches: int = 0
    before: int = 0


class Checkpoint(NamedTuple):
    """What a trial has seen after each launch, so that a crash loses one launch at most.

    The samples stand in one npz at ``path``, beside a JSON text of all that is no array.
    """

    path: Path
    trial: str

    def save(self, trial: Trial) -> None:
        """Writes everything seen so far."""
        arrays = {}
        words: dict[str, Any] = {
            "launches": trial.launches,
            "before": trial.before,
            "observed": {},
        }
        for number, (name, one) in enumerate(trial.observed.items()):
            for size, samples in one.samples.items():
                arrays[f"{number}-{size}-ns"] = samples.ns
                arrays[f"{number}-{size}-blocks"] = samples.blocks
            words["observed"][name] = {
                "sizes": list(one.samples),
                "launches": one.launches,
                "nodes": None if one.placement is None else one.placement.nodes,
                "failure": None if one.failure is None else one.failure.model_dump(),
                "left_because": one.left_because,
                "vitals": [vitals.model_dump() for vitals in one.vitals],
            }
        write_array(self.path.parent, self.path.name, words=np.array(json.dumps(words)), **arrays)

    def load(self) -> Trial | None:
        """The trial as far as it came; None where there is nothing of it."""
        if not self.path.exists():
            return None
        with np.load(self.path, allow_pickle=False) as arrays:
            words = json.loads(str(arrays["words"]))
            observed = {
                name: Observed(
                    samples={
                        size: Samples.of(
                            arrays[f"{number}-{size}-ns"], arrays[f"{number}-{size}-blocks"]
                        )
                        for size in one["sizes"]
                    },
                    launches=[tuple(launch) for launch in one["launches"]],
                    placement=None if one["nodes"] is None else Placement(nodes=one["nodes"]),
                    failure=one["failure"] and Failure.model_validate(one["failure"]),
                    left_because=one["left_because"],
                    vitals=[LaunchVitals.model_validate(v) for v in one["vitals"]],
                )
                for number, (name, one) in enumerate(words["observed"].items())
            }
        return Trial(self.trial, observed, int(words["launches"]), int(words.get("before", 0)))

    def remove(self) -> None:
        """The trial is over; its samples stand in files of their own."""
        self.path.unlink(missing_ok=True)

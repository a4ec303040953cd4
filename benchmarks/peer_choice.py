"""What mlopt makes of a model: the candidates that it builds, and the one that it chooses."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from peer_case import LEAST_LOSS, LIMITS, MLOPT, SEED, Case, write_project
from peer_scores import forget_answers

from mlopt import api
from mlopt.errors import MloptError, ModelError
from mlopt.pipeline.space import candidate_space
from mlopt.types.candidate import Stage

CHOICE = "choice.json"


class Choice(NamedTuple):
    """What ``mlopt optimize`` chose.

    Attributes:
        stage: As it is deployed.
        outcome: The run's verdict.
        seconds: Wall-clock duration by phase.
    """

    candidate: str
    stage: Stage
    outcome: str
    seconds: dict[str, float]


def build_candidates(case: Case) -> None:
    """Has mlopt's cache hold what the recipe ``auto`` builds first."""
    for candidate in candidate_space(case.prepared.project).candidates:
        start = time.monotonic()
        try:
            case.builder.build(candidate.steps, lambda: LIMITS, lambda message, done: None)
            end = "built"
        except MloptError as e:
            end = f"failed: {e}"
        print(f"{candidate.name}: {end} in {time.monotonic() - start:.0f} s", flush=True)


def choose(case: Case, peer_loss: float | None) -> Choice:
    """What ``mlopt optimize`` chooses; kept for the next start.

    Args:
        case: The model.
        peer_loss: What the fastest peer loses on selection, as the margin; None: the margin is that
            of the project.

    Raises:
        MloptError: It chooses nothing, or ends with an error.
    """
    kept = case.place / CHOICE
    if not kept.exists():
        forget_answers(case, MLOPT)
        if peer_loss is not None:
            write_project(case.name, case.directory, max(LEAST_LOSS, peer_loss))
        result = api.optimize(case.directory, out=case.place / "runs", seed=SEED)
        decision = result.run.decision
        if decision is None or decision.chosen is None:
            raise ModelError(f"mlopt chose nothing: {decision and decision.reason}")
        choice = {
            "run": str(result.run_dir),
            "candidate": decision.chosen,
            "outcome": decision.outcome,
            "seconds": result.run.seconds,
        }
        kept.write_text(json.dumps(choice), encoding="utf-8")
        print(f"mlopt chose {decision.chosen}: {result.run.seconds}", flush=True)
    choice = json.loads(kept.read_text(encoding="utf-8"))
    model = Path(choice.pop("run")) / "model"
    session = json.loads((model / "session.json").read_text(encoding="utf-8"))
    return Choice(stage=Stage(artifact=str(model), **session), **choice)

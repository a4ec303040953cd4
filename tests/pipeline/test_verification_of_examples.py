"""The examples that are committed agree with their samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlopt import api
from mlopt.api import _verify
from mlopt.pipeline import recompute
from mlopt.pipeline.ledger import Ledger, Place
from mlopt.pipeline.recompute import Evidenced, Tell, recompute_timings
from mlopt.pipeline.rescore import Rescorer

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path.parent.name for path in (ROOT / "sample_models").glob("*/mlopt.yaml"))


@pytest.fixture
def only_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of the first two candidates, the baseline among them, and no metric: all take minutes.

    Nor whether whoever left early had a rival, since that may be one of the others.
    """

    def timings(ledger: Ledger, given: Evidenced, tell: Tell) -> None:
        first = given.run.model_copy(update={"candidates": given.run.candidates[:2]})
        recompute_timings(ledger, given._replace(run=first), tell)

    def unknown(ledger: Ledger, place: Place, *_: object) -> None:
        ledger.give_up(place, "its rival is not looked at")

    monkeypatch.setattr(recompute, "_left_because", unknown)
    monkeypatch.setattr(_verify, "recompute_timings", timings)
    monkeypatch.setattr(Rescorer, "recompute", lambda *_: None)


@pytest.mark.usefixtures("only_the_first")
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_committed_example_agrees_with_its_samples(sample: str) -> None:
    found = api.verify(ROOT / "reports" / f"example-{sample}")

    assert found.mismatches == ()
    assert found.checked.plots > 1
    assert "model/" in [gap.what for gap in found.unverified]

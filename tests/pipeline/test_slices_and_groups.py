"""Slices and groups in mlopt.yaml, from the user's functions to the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from linear_project import QUICK

from mlopt import api
from mlopt.errors import DataError, MloptError
from mlopt.evaluation.members import Members
from mlopt.pipeline.quality import slice_warning
from mlopt.stats import smallest_provable_drop
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import SliceResult

pytestmark = pytest.mark.slow

DATA = """
import numpy as np


def bright(inputs, targets):
    return inputs["features"][:, 0] > 0


def nothing(inputs, targets):
    return targets > 100


def clip(inputs, targets):
    # The first example of a clip of four is in none of the other splits.
    first = inputs["features"][:, 0]
    return [f"clip {first[row // 4 * 4]:.6f}" for row in range(len(first))]


def position(inputs, targets):
    return np.arange(len(targets)) // 4
"""


@pytest.fixture
def project(onnx_project: Callable[..., Path]) -> Callable[..., Path]:
    def write(**overrides: object) -> Path:
        directory = onnx_project(measurement=QUICK, recipes=["fp32", "int8-static"], **overrides)
        (directory / "data.py").write_text(DATA)
        return directory

    return write


def test_slices_and_groups_reach_the_run_and_its_report(
    project: Callable[..., Path], tmp_path: Path
) -> None:
    directory = project(slices=[{"name": "bright", "function": "data:bright"}], groups="data:clip")
    result = api.optimize(directory, out=tmp_path / "runs", budget=["size <= 10 MB"])
    run = result.run
    assert run.plan.slices == {"bright": "data:bright"}
    assert run.plan.data["holdout"].groups == 30
    assert run.plan.margins[0].provable == pytest.approx(smallest_provable_drop(30))
    evidence = run.candidate("int8-static").selection
    assert evidence is not None
    assert evidence.quality is not None
    quality = evidence.quality
    assert {part.name for part in quality.slices} == {"class 0", "class 1", "class 2", "bright"}
    assert quality.metrics[0].units == 30
    assert quality.metrics[0].p_value is not None
    assert quality.flip_rate is not None
    assert quality.broken_rate is not None
    assert quality.broken_rate <= quality.flip_rate
    assert quality.members is not None
    members = Members.read(result.run_dir / quality.members.path)
    bright = next(part for part in quality.slices if part.name == "bright")
    with np.load(directory / "selection.npz") as file:
        assert members.slices["bright"].tolist() == (file["features"][:, 0] > 0).tolist()
        assert bright.examples == int((file["features"][:, 0] > 0).sum())
    assert members.groups is not None
    text = (result.run_dir / "adr.md").read_text(encoding="utf-8")
    assert "over 30 groups" in text
    assert "The 30 groups of the 120 holdout examples can exclude" in text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"groups": "data:position"}, r"data\.\w+ and data\.\w+ share 30 groups, such as 0"),
        ({"slices": [{"name": "odd", "function": "data:nothing"}]}, r"slices \(odd\).*marks none"),
        ({"slices": [{"name": "odd", "function": "data:brigt"}]}, r"slices\[0\].*'bright'"),
        ({"groups": "data:clips"}, r"groups.*'clip'"),
    ],
)
def test_what_cannot_be_told_ends_the_run_before_anything_is_built(
    project: Callable[..., Path],
    tmp_path: Path,
    overrides: dict[str, object],
    message: str,
) -> None:
    with pytest.raises(MloptError, match=message) as caught:
        api.optimize(project(**overrides), out=tmp_path / "runs")
    assert ("groups" not in overrides) or "share" not in message or caught.type is DataError
    assert not (tmp_path / "runs").exists()


def test_the_warning_names_the_slice_and_both_losses() -> None:
    from mlopt.types.measurement import MetricResult, Quality

    part = SliceResult(
        name="dark",
        metric="accuracy",
        examples=80,
        value=0.5,
        baseline_value=0.9,
        delta=Estimate(value=-0.4, low=-0.5, high=-0.3),
        p_value=0.001,
        least_loss=0.21,
    )
    whole = MetricResult(
        name="accuracy",
        split="holdout",
        examples=900,
        value=0.9,
        baseline_value=0.91,
        delta=Estimate(value=-0.01),
        higher_is_better=True,
        max_drop=0.02,
        method="",
    )
    quality = Quality(
        split="holdout", predictions=None, metrics=(whole,), flip_rate=None, slices=(part,)
    )
    assert slice_warning("int8", part, quality) == (
        "int8: the slice 'dark' (80 examples of holdout) lost at least 21 points of accuracy; all "
        "examples together may lose 2 points. Slices do not decide: look at this one before you ship."
    )

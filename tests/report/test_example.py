"""The examples that are committed are what their runs say, rendered by this version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlopt.report import write_report

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path.parent.name for path in (ROOT / "sample_models").glob("*/mlopt.yaml"))


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_committed_report_of_a_sample_equals_its_rendering(sample: str, tmp_path: Path) -> None:
    example = ROOT / "reports" / f"example-{sample}"
    copy = tmp_path / "run"
    shutil.copytree(example, copy)
    (copy / "adr.md").unlink()

    assert write_report(copy).read_bytes() == (example / "adr.md").read_bytes()

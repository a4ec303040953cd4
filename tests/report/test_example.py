"""The example that is committed is what its run says, rendered by this version."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlopt.report import write_report

EXAMPLE = Path(__file__).parents[2] / "reports" / "example-digits_resnet"


def test_the_committed_report_equals_its_rendering(tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(EXAMPLE, copy)
    (copy / "adr.md").unlink()

    assert write_report(copy).read_bytes() == (EXAMPLE / "adr.md").read_bytes()

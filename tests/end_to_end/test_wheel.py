"""A wheel that is installed anywhere finds its recipes and its templates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Finished, mlopt


def test_an_installed_wheel_finds_its_recipes_by_name(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "-q",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)

    def installed(*arguments: str) -> Finished:
        return mlopt(arguments, tmp_path, PYTHONPATH=str(site))

    where = subprocess.run(
        [sys.executable, "-P", "-c", "import mlopt; print(mlopt.__file__)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(where.strip()).is_relative_to(site)
    listed = installed("recipes")
    assert listed.code == 0, listed.err
    assert all(name in listed.out for name in ("fp32", "int8-dynamic", "int8-static"))
    assert "calibration" in installed("recipes", "show", "int8-static").out
    assert installed("schema", "recipe").out.startswith("{")
    assert (site / "mlopt" / "report" / "templates" / "adr.md.j2").is_file()
    assert (site / "mlopt" / "py.typed").is_file()

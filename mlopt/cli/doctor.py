"""``mlopt doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlopt.cli.console import print_json, print_result
from mlopt.cli.options import Debug, Json, Quiet, duration

if TYPE_CHECKING:
    from rich.table import Table

    from mlopt.api._doctor import DoctorCheck
    from mlopt.types.run import Environment

COLOURS = {"ok": "green", "warning": "bold yellow", "missing": "bold red"}


Seconds = Annotated[
    float,
    typer.Option(
        "--seconds",
        parser=duration,
        metavar="SECONDS",
        help="How long to time a model against itself for the noise floor (20, 20s, 1m).",
    ),
]
Noise = Annotated[bool, typer.Option("--noise/--no-noise", help="Measure the noise floor.")]


def doctor(
    *,
    seconds: Seconds = "20",  # type: ignore[assignment]  # typer parses the default too
    noise: Noise = True,
    json: Json = False,
    quiet: Quiet = False,
    _debug: Debug = False,
) -> None:
    """Look at the machine, the libraries and the providers, and try how quiet it is."""
    from mlopt import api
    from mlopt.cli.progress import watching

    with watching(quiet=quiet) as on_event:
        report = api.doctor(seconds=seconds if noise else None, on_event=on_event)
    if json:
        print_json(report.document())
    else:
        print_result(_environment(report.environment), "", _checks(report.checks))
        if report.noise:
            print_result("", *report.noise)


def _environment(environment: Environment) -> Table:
    found = _table()
    libraries = ", ".join(f"{name} {version}" for name, version in environment.libraries.items())
    rows = {
        "processor": f"{environment.cpu} ({environment.architecture})",
        "instruction sets": ", ".join(environment.cpu_flags) or "unknown",
        "processors": f"{environment.cpus} of {environment.cpus_on_host} may be used"
        + ("" if environment.cpu_quota is None else f", a quota of {environment.cpu_quota:.3g}"),
        "memory": f"{environment.memory_bytes / 1e9:.1f} GB may be used",
        "frequency": environment.frequency or "unknown",
        "system": f"{environment.operating_system}, Python {environment.python}",
        "libraries": libraries or "none",
        "providers": ", ".join(environment.providers) or "none",
        "builds": ", ".join(f"{name} {build}" for name, build in environment.builds.items())
        or "unknown",
    }
    for title, value in rows.items():
        found.add_row(title, value)
    return found


def _checks(checks: list[DoctorCheck]) -> Table:
    from rich.text import Text

    found = _table()
    found.add_column(overflow="fold")
    for check in checks:
        found.add_row(Text(check.status, style=COLOURS[check.status]), check.name, check.detail)
    return found


def _table() -> Table:
    from rich.table import Table

    found = Table(box=None, pad_edge=False, show_header=False)
    found.add_column(no_wrap=True)
    found.add_column(overflow="fold")
    return found

"""``mlopt doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlopt.cli.console import print_json, print_result
from mlopt.cli.options import Debug, Json

if TYPE_CHECKING:
    from rich.table import Table

    from mlopt.api._doctor import DoctorCheck
    from mlopt.types.run import Environment

COLOURS = {"ok": "green", "warning": "bold yellow", "missing": "bold red"}


def doctor(json: Json = False, _debug: Debug = False) -> None:
    """Look at the machine, the libraries and the providers, and say what is missing."""
    from mlopt import api
    from mlopt.cli.progress import watching

    with watching(quiet=False):
        report = api.doctor()
    if json:
        print_json(report.document())
    else:
        print_result(_environment(report.environment), "", _checks(report.checks))


def _environment(environment: Environment) -> Table:
    found = _table()
    libraries = ", ".join(f"{name} {version}" for name, version in environment.libraries.items())
    rows = {
        "processor": f"{environment.cpu} ({environment.architecture})",
        "instruction sets": ", ".join(environment.cpu_flags) or "unknown",
        "processors": f"{environment.cpus} of {environment.cpus_on_host} may be used",
        "memory": f"{environment.memory_bytes / 1e9:.1f} GB may be used",
        "system": f"{environment.operating_system}, Python {environment.python}",
        "libraries": libraries or "none",
        "providers": ", ".join(environment.providers) or "none",
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

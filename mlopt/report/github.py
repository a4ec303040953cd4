"""A gate as GitHub annotations: workflow commands, which the runner finds in a step's output.

The escapes are those of the runner: ``%``, carriage return and line feed everywhere, and ``:`` and
``,`` in properties as well (github.com/actions/toolkit, packages/core/src/command.ts).
"""

from __future__ import annotations

from mlopt.report.gate import gate_sentence, line_in_words
from mlopt.types.gate import GateReport


def workflow_commands(report: GateReport) -> list[str]:
    """One command for each line that did not pass, and for each warning."""
    found = [
        command("error", f"{report.project}: {line.title}", f"FAIL: {line_in_words(line)}")
        for line in report.of("FAIL")
    ]
    found += [
        command(
            "warning", f"{report.project}: {line.title}", f"INCONCLUSIVE: {line_in_words(line)}"
        )
        for line in report.of("INCONCLUSIVE")
    ]
    title = f"mlopt gate: {report.project}"
    found += [command("warning", title, one) for one in report.warnings]
    if report.outcome == "PASS":
        found.append(command("notice", title, gate_sentence(report)))
    return found


def command(level: str, title: str, message: str) -> str:
    """One workflow command: ``::error title=...::...``.

    Args:
        level: ``error``, ``warning`` or ``notice``.
        title: Shown in bold.
        message: Below it; may have several lines.
    """
    return f"::{level} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

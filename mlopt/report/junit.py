"""A gate as JUnit XML, which CI systems read: one test case for each line of the contract.

A line that FAILs is a ``failure``. One that is INCONCLUSIVE is an ``error``, the format's word for
a test that could not be carried out: ``skipped`` counts as green everywhere, and a gate that could
not tell has not passed.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from mlopt.report.gate import gate_sentence, line_in_words, timing_in_words
from mlopt.types.decision import Outcome
from mlopt.types.gate import GateLine, GateReport

ELEMENTS: dict[Outcome, str] = {"FAIL": "failure", "INCONCLUSIVE": "error"}

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may hold, escaped or not (section 2.2, Char)."""


def junit(report: GateReport) -> str:
    """The document."""
    counts = {
        "tests": str(len(report.lines)),
        "failures": str(len(report.of("FAIL"))),
        "errors": str(len(report.of("INCONCLUSIVE"))),
        "skipped": "0",
    }
    root = ET.Element("testsuites", {"name": "mlopt gate", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _legal(report.project), **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ET.SubElement(properties, "property", {"name": name, "value": _legal(value)})
    for line in report.lines:
        _case(suite, line, report.project)
    said = [gate_sentence(report), timing_in_words(report)]
    said += [f"warning: {one}" for one in report.warnings]
    ET.SubElement(suite, "system-out").text = _legal("\n".join(said))
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document.decode() + "\n"


def _case(suite: ET.Element, line: GateLine, project: str) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        {"classname": _legal(f"{project}.{line.subject}"), "name": _legal(line.title)},
    )
    words = _legal(line_in_words(line))
    if line.outcome in ELEMENTS:
        found = ET.SubElement(
            case, ELEMENTS[line.outcome], {"type": line.outcome, "message": words}
        )
        found.text = _legal(f"{line.title}: {words}")
    else:
        ET.SubElement(case, "system-out").text = words


def _properties(report: GateReport) -> dict[str, str]:
    return {
        "verdict": report.outcome,
        "ship": report.ship,
        "reference": report.reference or "none",
        "baseline": report.baseline,
        "tolerance": f"{report.tolerance:g}",
    }


def _legal(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)

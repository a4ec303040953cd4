"""The one line of a failure of ONNX Runtime or OpenVINO that says what went wrong."""

from __future__ import annotations

import re

MOST_CHARACTERS = 300

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"^(Exception from|Check '.*' failed at) \S+:\d+:$")
"""Where in a provider's own sources it went wrong, on lines of their own before what it says."""

_HEADING = re.compile(r"^(FrontEnd API failed with \w+:|Model wasn't fully converted\.|Summary:)$")
"""What OpenVINO puts between the place and the reason."""


def cause_of(error: Exception) -> str:
    """What ONNX Runtime or a provider says, without the places in their sources.

    A provider's exception has a line for each of these, and its reason last: the first line alone,
    ``EP_FAIL : Exception from src/inference/src/cpp/core.cpp:117:``, says nothing.
    """
    text = _CODE.sub("", str(error).strip())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not (_PLACE.match(line) or _HEADING.match(line))]
    first = (said or lines or [type(error).__name__])[0]
    return first.removeprefix("-- ")[:MOST_CHARACTERS]

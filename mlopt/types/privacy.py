"""What must not leave the machine inside a report: where its files lie."""

import re

_ROOTS = "home|root|tmp|usr|opt|var|work|mnt|srv|data|media|private|Users|Volumes|workspace|builds?"
_WINDOWS_PATH = re.compile(
    r"(?<!\w)[A-Za-z]:[\\/](?:[^\s\\/'\"`:;,()<>|]+[\\/])*[^\s\\/'\"`:;,()<>|]*"
)
_UNIX_PATH = re.compile(rf"(?:file://|(?<![\w./:…-]))/(?:{_ROOTS})(?:/[^\s/'\"`:;,()<>|]+)+/?")
_FILE_PATH = re.compile(
    r"(?<![\w./:…-])(?:/[\w.+@~ -]*[\w.+@~-])+?\.(?:py|so|dll|onnx|npz|json|yaml)\b"
)


def without_paths(text: str) -> str:
    """``text`` with each absolute path shortened to its last part."""
    for pattern in (_WINDOWS_PATH, _UNIX_PATH, _FILE_PATH):
        text = pattern.sub(_last_part, text)
    return text


def _last_part(match: re.Match[str]) -> str:
    return "…/" + re.split(r"[\\/]", match[0].rstrip("\\/"))[-1]

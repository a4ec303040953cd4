"""``docs/providers.md`` names every provider, variant and session setting, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mlopt.providers import known_providers
from mlopt.providers.openvino import OpenVinoProvider
from mlopt.runners.onnxruntime import OnnxRuntimeRunner

TEXT = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")


def _first_column(title: str) -> set[str]:
    section = TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE))


def test_every_provider_and_variant_is_explained() -> None:
    assert _first_column("What there is") == set(known_providers())


def test_every_session_setting_is_explained() -> None:
    assert _first_column("Session settings") == set(OnnxRuntimeRunner.model_fields)


def test_a_variant_whose_time_leaves_copies_out_is_marked() -> None:
    for name, one in known_providers().items():
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |"))
        hidden = one.binding is not None and one.binding.device != "cpu" and not one.binding.copies
        assert ("**no copy is timed**" in row) == hidden


def test_the_properties_that_openvino_is_given_are_those_that_are_shown() -> None:
    shown = re.search(r"^config = (\{.*?^\})", TEXT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert ast.literal_eval(shown[1]) == OpenVinoProvider().config(2)

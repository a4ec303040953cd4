"""The files of the open folders load where nothing but pydantic and PyYAML is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import mlopt

ROOT = Path(mlopt.__file__).parent
FOLDERS = ("passes", "runners", "providers", "sources")
MODULES = sorted(
    ".".join(("mlopt", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
)

PROBE = """\
import importlib, importlib.abc, json, sys

ALLOWED = set(sys.stdlib_module_names) | {
    "mlopt", "pydantic", "pydantic_core", "annotated_types", "typing_extensions",
    "typing_inspection", "yaml", "_yaml",
}


class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"blocked: {name}", name=name)


sys.meta_path.insert(0, Block())
found = {}
for module in json.loads(sys.argv[1]):
    before = set(sys.modules)
    try:
        importlib.import_module(module)
    except Exception as e:
        found[module] = f"{type(e).__name__}: {e}"
    for name in set(sys.modules) - before:
        if name.startswith("mlopt"):
            del sys.modules[name]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def failures() -> dict[str, str]:
    """What went wrong, by module."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(MODULES)],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_blocked_imports_are_blocked(failures):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(["numpy"])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"numpy": "ModuleNotFoundError: blocked: numpy"}


@pytest.mark.parametrize("module", MODULES)
def test_loads_with_nothing_else_installed(module, failures):
    assert failures.get(module) is None

"""Folders as registries, and plug-ins from other packages."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from mlopt.errors import ConfigError
from mlopt.registry import Folder
from mlopt.types.passes import Pass
from mlopt.types.record import Record

PASS = """\
from mlopt.types.passes import Pass


class {title}(Pass):
    name = "{name}"
    summary = "does nothing"
    consumes = "onnx"
    produces = "onnx"
"""

numbers = itertools.count()
MakeFolder = Callable[..., Folder[Pass]]


def _pass(name: str) -> str:
    return PASS.format(title=name.title(), name=name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeFolder]:
    """A registry over a package with these files, and plug-ins installed beside it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def make(
        files: Mapping[str, str],
        plugins: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
    ) -> Folder[Pass]:
        package = f"folder{next(numbers)}"
        (tmp_path / package).mkdir()
        for name, code in {"__init__": "", **files}.items():
            (tmp_path / package / f"{name}.py").write_text(code)
        for name, code in (modules or {}).items():
            (tmp_path / f"{name}.py").write_text(code)
        if plugins:
            info = tmp_path / "more_passes-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                "Metadata-Version: 2.1\nName: more-passes\nVersion: 1.0\n"
            )
            lines = [f"[{package}]", *(f"{name} = {value}" for name, value in plugins.items())]
            (info / "entry_points.txt").write_text("\n".join(lines))
        importlib.invalidate_caches()
        return Folder(package, Pass, "pass")

    yield make
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]


def test_every_file_is_an_entry_but_those_with_an_underscore(folder):
    found = folder({"prune": _pass("prune"), "fold": _pass("fold"), "_base": _pass("base")})
    assert list(found.entries) == ["fold", "prune"]
    assert found["fold"].name == "fold"
    assert "fold" in found
    assert "base" not in found


def test_an_unknown_name_is_met_with_what_might_be_meant(folder):
    found = folder({"prune": _pass("prune")})
    with pytest.raises(ConfigError) as caught:
        found["prunes"]
    assert str(caught.value) == "unknown pass 'prunes'. Did you mean 'prune'?"
    with pytest.raises(ConfigError) as caught:
        found["quantize"]
    assert str(caught.value) == "unknown pass 'quantize'. Known: prune."


def test_a_class_that_a_file_imports_is_no_entry_of_it(folder):
    code = f"from mlopt.passes.int8_dynamic import Int8Dynamic\n{_pass('fold')}"
    assert list(folder({"fold": code}).entries) == ["fold"]


def test_one_entry_is_found_in_its_file_and_nothing_else_is_loaded(folder):
    found = folder({"fold": _pass("fold"), "broken": "1 / 0"}, plugins={"merge": "none:Merge"})
    assert found["fold"].name == "fold"
    assert found.own_file("merge") is None
    with pytest.raises(ZeroDivisionError):
        _ = found.entries


def test_an_entry_that_is_not_called_like_its_file_is_found_all_the_same(folder):
    found = folder({"fold": _pass("bend")})
    assert found.own_file("fold") is None
    assert found["bend"].name == "bend"


@pytest.mark.parametrize(
    ("code", "count"), [("", 0), (_pass("a") + _pass("b"), 2), ("from mlopt.passes import Pass", 0)]
)
def test_a_file_must_define_exactly_one_class(code, count, folder):
    found = folder({"mine": code})
    with pytest.raises(TypeError) as caught:
        _ = found.entries
    expected = f"{found.package}.mine must define exactly one pass, and defines {count}"
    assert str(caught.value) == expected


def test_two_files_with_one_name_are_refused(folder):
    found = folder({"fold": _pass("fold"), "other": _pass("fold")})
    with pytest.raises(ConfigError) as caught:
        _ = found.entries
    assert str(caught.value) == (
        f"two entries are the pass 'fold': {found.package}.fold and {found.package}.other. "
        "Uninstall the package of one of them."
    )


def test_another_package_adds_an_entry_through_an_entry_point(folder):
    found = folder(
        {"fold": _pass("fold")},
        plugins={"merge": "more_passes:Merge"},
        modules={"more_passes": _pass("merge")},
    )
    assert list(found.entries) == ["fold", "merge"]
    assert found["merge"].__module__ == "more_passes"


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "cannot be imported": (
        {"more_passes": "import no_such_package\n"},
        "the pass 'merge' of the package more-passes cannot be loaded (ModuleNotFoundError: No "
        "module named 'no_such_package'). Update or uninstall more-passes.",
    ),
    "is not in its module": (
        {"more_passes": ""},
        "the pass 'merge' of the package more-passes cannot be loaded (AttributeError: module "
        "'more_passes' has no attribute 'Merge'). Update or uninstall more-passes.",
    ),
    "is something else": (
        {"more_passes": "def Merge():\n    return None\n"},
        "the pass 'merge' of the package more-passes is no Pass. Update or uninstall more-passes.",
    ),
    "has the name of another": (
        {"more_passes": _pass("fold").replace("Fold", "Merge")},
        "two entries are the pass 'fold': {package}.fold and more_passes. Uninstall the package "
        "of one of them.",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refuses_a_plugin_that(case, folder):
    modules, message = BROKEN[case]
    plugins = {"merge": "more_passes:Merge"}
    found = folder({"fold": _pass("fold")}, plugins=plugins, modules=modules)
    with pytest.raises(ConfigError) as caught:
        _ = found.entries
    assert str(caught.value) == message.format(package=found.package)


def test_an_entry_is_a_record_like_every_noun(folder):
    entry = folder({"fold": _pass("fold")})["fold"]
    assert issubclass(entry, Record)
    assert entry() == entry.model_validate({})

"""Importing what the user wrote: what goes wrong is told with its place and its remedy."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlopt.errors import ConfigError
from mlopt.workers.usercode import describe, load_object

PLACE = "model.factory"
_numbers = itertools.count()

Write = Callable[[str], str]


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a module with a name of its own into the project."""

    def module(text: str) -> str:
        name = f"user_model_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return module


def refused(reference: str, project_dir: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_object(reference, project_dir, PLACE)
    text = str(caught.value)
    assert text.startswith(f"{PLACE}: ")
    return text


def test_imports_a_name_from_the_projects_directory(tmp_path: Path, write: Write) -> None:
    name = write("def build():\n    return 'a model'\n")
    assert load_object(f"{name}:build", tmp_path, PLACE)() == "a model"


def test_imports_from_a_package_and_from_installed_modules(tmp_path: Path) -> None:
    (tmp_path / "user_nets").mkdir()
    (tmp_path / "user_nets" / "__init__.py").write_text("")
    (tmp_path / "user_nets" / "small.py").write_text("WIDTH = 3\n")
    assert load_object("user_nets.small:WIDTH", tmp_path, PLACE) == 3
    assert load_object("math:pi", tmp_path, PLACE) == pytest.approx(3.14159, abs=1e-5)


def test_a_misspelt_name_gets_a_near_match(tmp_path: Path, write: Write) -> None:
    name = write("def build_model():\n    pass\n")
    text = refused(f"{name}:biuld_model", tmp_path)
    assert f"'{name}' has no 'biuld_model'" in text
    assert "Did you mean 'build_model'?" in text


def test_a_misspelt_module_gets_a_near_match(tmp_path: Path) -> None:
    (tmp_path / "my_network.py").write_text("")
    text = refused("my_netwrok:build", tmp_path)
    assert "no module 'my_netwrok' beside mlopt.yaml" in text
    assert "Did you mean 'my_network'?" in text


@pytest.mark.parametrize("reference", ["user_pkg.missing:f", "user_pkg.missing.deeper:f"])
def test_a_missing_module_of_a_package_is_not_taken_for_a_missing_dependency(
    tmp_path: Path, reference: str
) -> None:
    (tmp_path / "user_pkg").mkdir()
    (tmp_path / "user_pkg" / "__init__.py").write_text("")
    assert "Install" not in refused(reference, tmp_path)


def test_a_missing_dependency_of_the_users_module_is_named(tmp_path: Path, write: Write) -> None:
    name = write("import no_such_dependency\n")
    text = refused(f"{name}:build", tmp_path)
    assert f"importing '{name}' failed" in text
    assert "Install 'no_such_dependency' beside mlopt." in text


@pytest.mark.parametrize(
    ("source", "error", "line"),
    [
        ("WIDTH = 1\nDEPTH = WIDTH / 0\n", "ZeroDivisionError", 2),
        ("def helper():\n    raise ValueError('bad')\n\nhelper()\n", "ValueError: bad", 2),
        ("WIDTH = 1\n\ndef build(:\n", "SyntaxError", 3),
    ],
)
def test_what_a_module_raises_comes_with_file_and_line(
    tmp_path: Path, write: Write, source: str, error: str, line: int
) -> None:
    name = write(source)
    text = refused(f"{name}:build", tmp_path)
    assert error in text
    assert f"({name}.py, line {line})" in text


def test_a_module_that_python_has_already_is_refused_as_shadowed(tmp_path: Path) -> None:
    (tmp_path / "string.py").write_text("def build():\n    pass\n")
    text = refused("string:capwords", tmp_path)
    assert "hides" in text
    assert "Rename the file." in text


def raised_by(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as e:  # noqa: BLE001
        return e
    raise AssertionError("it did not raise")


def test_an_error_is_described_by_the_last_place_in_the_users_code(
    tmp_path: Path, write: Write
) -> None:
    name = write("import json\n\ndef build():\n    return json.loads('{')\n")
    error = raised_by(load_object(f"{name}:build", tmp_path, PLACE))
    text = describe(error, tmp_path)
    assert text.startswith("JSONDecodeError: Expecting property name")
    assert text.endswith(f"({name}.py, line 4)")


def test_a_virtual_environment_in_the_project_is_not_the_users_code(
    tmp_path: Path, write: Write
) -> None:
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "user_installed.py").write_text("def call():\n    raise TypeError('wrong shape')\n")
    sys.path.insert(0, str(packages))
    name = write("import user_installed\n\ndef build():\n    user_installed.call()\n")
    error = raised_by(load_object(f"{name}:build", tmp_path, PLACE))
    assert describe(error, tmp_path) == f"TypeError: wrong shape ({name}.py, line 4)"


def test_an_error_from_elsewhere_has_no_place_and_its_first_line_only(tmp_path: Path) -> None:
    assert describe(ValueError("first\nsecond"), tmp_path) == "ValueError: first"

"""Hashes as keys: what must change them, and what must not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mlopt.store.hashing import sha256_file, sha256_files, sha256_json, sha256_sources


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "model.py": "WIDTH = 4\n",
        "nets/block.py": "DEPTH = 2\n",
        "README.md": "A model.\n",
        "mlopt.yaml": "name: a\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"weights" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"weights" * 100_000).hexdigest()


def test_a_json_hash_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert sha256_json({"a": 1, "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": 1})
    assert sha256_json({"a": 1, "b": [1, 2]}) != sha256_json({"a": 1, "b": [2, 1]})
    assert sha256_json({"a": 1}) != sha256_json({"a": "1"})


def test_a_hash_of_files_depends_on_names_and_contents_not_on_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    before = sha256_files([("a", one), ("b", two)])
    assert sha256_files([("b", two), ("a", one)]) == before
    assert sha256_files([("a", two), ("b", one)]) != before


@pytest.mark.parametrize("file", ["model.py", "nets/block.py"])
def test_editing_a_source_changes_the_hash(project: Path, file: str) -> None:
    before = sha256_sources(project)
    (project / file).write_text("WIDTH = 5\n")
    assert sha256_sources(project) != before


def test_adding_renaming_moving_and_removing_a_source_change_the_hash(project: Path) -> None:
    seen = {sha256_sources(project)}
    (project / "extra.py").write_text("")
    seen.add(sha256_sources(project))
    (project / "extra.py").rename(project / "other.py")
    seen.add(sha256_sources(project))
    (project / "elsewhere").mkdir()
    (project / "nets/block.py").rename(project / "elsewhere/block.py")
    seen.add(sha256_sources(project))
    (project / "elsewhere/block.py").unlink()
    seen.add(sha256_sources(project))
    assert len(seen) == 5


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "mlopt.yaml",
        ".git/hook.py",
        ".hidden.py",
        "__pycache__/model.py",
        "node_modules/a/b.py",
        "nets/__pycache__/block.py",
    ],
)
def test_what_is_no_source_of_the_project_leaves_the_hash(project: Path, file: str) -> None:
    before = sha256_sources(project)
    target = project / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("changed\n")
    assert sha256_sources(project) == before


def test_a_virtual_environment_is_skipped_whatever_it_is_called(project: Path) -> None:
    before = sha256_sources(project)
    (project / "my-env/lib").mkdir(parents=True)
    (project / "my-env/lib/torch.py").write_text("")
    assert sha256_sources(project) != before
    (project / "my-env/pyvenv.cfg").write_text("home = /usr\n")
    assert sha256_sources(project) == before


def test_a_moved_project_keeps_its_hash(project: Path, tmp_path: Path) -> None:
    before = sha256_sources(project / "nets")
    (project / "nets").rename(project / "elsewhere")
    assert sha256_sources(project / "elsewhere") == before

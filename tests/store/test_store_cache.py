"""The cache: built once, never half, and pruned as asked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlopt.store.cache import Cache, default_cache_dir

BUILDER = """
import sys, time
from pathlib import Path
from mlopt.store.cache import Cache

def build(directory):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (directory / "model.onnx").write_text("weights")

place, cached = Cache(Path(sys.argv[1])).get_or_build("artifacts", "ab12", build)
print((place / "model.onnx").read_text())
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def writes(content: str) -> Callable[[Path], None]:
    def build(directory: Path) -> None:
        (directory / "model.onnx").write_text(content)

    return build


def stored(cache: Cache, key: str, size: int, age_s: float) -> None:
    place, _ = cache.get_or_build("artifacts", key, writes("x" * size))
    then = time.time() - age_s
    os.utime(place, (then, then))


def test_an_entry_is_built_once_and_found_afterwards(cache: Cache) -> None:
    first, was_there = cache.get_or_build("artifacts", "ab12", writes("first"))
    again, is_there = cache.get_or_build("artifacts", "ab12", writes("second"))
    assert (was_there, is_there) == (False, True)
    assert again == first == cache.find("artifacts", "ab12")
    assert (again / "model.onnx").read_text() == "first"


def test_kinds_and_keys_do_not_share_entries(cache: Cache) -> None:
    cache.get_or_build("artifacts", "ab12", writes("artifact"))
    assert cache.find("data", "ab12") is None
    assert cache.find("artifacts", "ab13") is None


def test_a_failed_build_stores_nothing_and_leaves_no_workspace(cache: Cache) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("half a model")
        raise RuntimeError("out of disk")

    with pytest.raises(RuntimeError, match="out of disk"):
        cache.get_or_build("artifacts", "ab12", fail)
    assert cache.find("artifacts", "ab12") is None
    assert list((cache.root / "tmp").iterdir()) == []
    place, was_there = cache.get_or_build("artifacts", "ab12", writes("whole"))
    assert not was_there
    assert [file.name for file in place.iterdir()] == ["model.onnx"]


def test_threads_that_want_the_same_entry_build_it_once(cache: Cache) -> None:
    builds: list[int] = []
    barrier = threading.Barrier(4)
    answers: list[tuple[Path, bool]] = []

    def build(directory: Path) -> None:
        builds.append(1)
        time.sleep(0.2)
        (directory / "model.onnx").write_text("weights")

    def want() -> None:
        barrier.wait()
        answers.append(cache.get_or_build("artifacts", "ab12", build))

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert len({place for place, _ in answers}) == 1
    assert sorted(was_there for _, was_there in answers) == [False, True, True, True]


def test_processes_that_want_the_same_entry_build_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "cache"), str(log)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(2)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert answers == ["weights", "weights"]
    assert log.read_text().splitlines() == ["built"]


def test_a_workspace_is_empty_and_removed_at_the_end(cache: Cache) -> None:
    with cache.workspace() as workspace:
        assert list(workspace.iterdir()) == []
        (workspace / "big").write_bytes(b"0" * 1000)
    assert not workspace.exists()


def test_a_workspace_is_removed_when_its_block_raises(cache: Cache) -> None:
    with pytest.raises(ValueError, match="broken"), cache.workspace() as workspace:  # noqa: PT012
        (workspace / "big").write_bytes(b"0" * 1000)
        raise ValueError("broken")
    assert not workspace.exists()


def test_entries_are_listed_with_their_size_least_recently_used_first(cache: Cache) -> None:
    stored(cache, "aa", 10, age_s=50)
    stored(cache, "bb", 2000, age_s=500)
    cache.get_or_build("data", "cc", writes("123"))
    assert [(e.kind, e.key, e.size_bytes) for e in cache.entries()] == [
        ("artifacts", "bb", 2000),
        ("artifacts", "aa", 10),
        ("data", "cc", 3),
    ]


def test_a_cache_that_was_never_used_has_no_entries_and_makes_no_directory(cache: Cache) -> None:
    assert cache.entries() == []
    assert cache.prune() == []
    assert not cache.root.exists()


def test_finding_an_entry_makes_it_the_most_recently_used(cache: Cache) -> None:
    stored(cache, "aa", 10, age_s=500)
    stored(cache, "bb", 10, age_s=50)
    cache.find("artifacts", "aa")
    assert [entry.key for entry in cache.entries()] == ["bb", "aa"]


@pytest.mark.parametrize(
    ("options", "removed"),
    [
        pytest.param({}, ["oldest", "older", "newest"], id="all"),
        pytest.param({"older_than_s": 3600}, ["oldest", "older"], id="by age"),
        pytest.param({"older_than_s": 99999}, [], id="nothing is that old"),
        pytest.param({"max_bytes": 250}, ["oldest"], id="by size"),
        pytest.param({"max_bytes": 300}, [], id="the size holds already"),
        pytest.param({"max_bytes": 0}, ["oldest", "older", "newest"], id="no room at all"),
        pytest.param({"older_than_s": 3600, "max_bytes": 0}, ["oldest", "older"], id="both"),
    ],
)
def test_prune_removes_what_was_asked_and_says_so(
    cache: Cache, options: dict[str, float], removed: list[str]
) -> None:
    for key, age_s in (("older", 5000), ("oldest", 9000), ("newest", 10)):
        stored(cache, key, 100, age_s)
    assert [entry.key for entry in cache.prune(**options)] == removed  # type: ignore[arg-type]
    for key in ("oldest", "older", "newest"):
        assert (cache.find("artifacts", key) is None) == (key in removed)


def test_a_pruned_entry_is_built_again(cache: Cache) -> None:
    cache.get_or_build("artifacts", "ab12", writes("first"))
    cache.prune()
    place, was_there = cache.get_or_build("artifacts", "ab12", writes("second"))
    assert not was_there
    assert (place / "model.onnx").read_text() == "second"


def test_the_environment_variable_names_the_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLOPT_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert default_cache_dir() == tmp_path / "elsewhere"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_the_platform_names_the_directory(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("MLOPT_CACHE_DIR", raising=False)
    else:
        monkeypatch.setenv("MLOPT_CACHE_DIR", value)
    assert default_cache_dir().is_absolute()
    assert "mlopt" in default_cache_dir().parts


def test_checkpoints_of_a_build_stay_until_they_are_forgotten(cache):
    cache.checkpoints("ab12").mkdir(parents=True)
    (cache.checkpoints("ab12") / "epoch.json").write_text("{}")
    assert [(e.kind, e.key, e.size_bytes) for e in cache.entries()] == [("checkpoints", "ab12", 2)]
    cache.forget_checkpoints("ab12")
    assert cache.entries() == []
    cache.forget_checkpoints("ab12")


def test_pruning_spares_what_somebody_is_at_work_on(cache):
    def build(directory: Path) -> None:
        cache.checkpoints("ab12").mkdir(parents=True)
        assert Cache(cache.root).prune() == []
        assert cache.checkpoints("ab12").is_dir()

    cache.get_or_build("artifacts", "ab12", build)
    assert {e.kind for e in cache.prune()} == {"artifacts", "checkpoints"}

"""Atomic writes, and arrays by reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlopt.store.arrays import read_arrays, write_array
from mlopt.store.files import write_atomically
from mlopt.store.hashing import sha256_file


@pytest.mark.parametrize(
    ("content", "written"), [("später\n", "später\n".encode()), (b"\x00\xff", b"\x00\xff")]
)
def test_writes_text_as_utf8_and_bytes_as_they_are(
    tmp_path: Path, content: bytes | str, written: bytes
) -> None:
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == written


def test_replaces_an_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("old")
    write_atomically(tmp_path / "run.json", "new")
    assert (tmp_path / "run.json").read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_reader_that_holds_the_old_file_still_sees_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("old" * 1000)
    with file.open() as reader:
        assert reader.read(3) == "old"
        write_atomically(file, "new")
        assert reader.read() == "old" * 999


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlopt.store.files.os.replace", fail)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "run.json", "new")
    assert (tmp_path / "run.json").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_arrays_come_back_by_name_and_the_reference_describes_the_first(tmp_path: Path) -> None:
    samples, extra = np.arange(12).reshape(4, 3), np.array([0.5, 1.5], dtype=np.float32)
    reference = write_array(tmp_path, "samples/a/b.npz", samples=samples, extra=extra)
    assert (reference.path, reference.dtype, reference.shape) == (
        "samples/a/b.npz",
        "int64",
        (4, 3),
    )
    assert reference.sha256 == sha256_file(tmp_path / "samples/a/b.npz")
    found = read_arrays(tmp_path, reference)
    assert set(found) == {"samples", "extra"}
    np.testing.assert_array_equal(found["samples"], samples)
    np.testing.assert_array_equal(found["extra"], extra)


def test_writing_an_array_again_replaces_the_file_alone(tmp_path: Path) -> None:
    write_array(tmp_path, "a.npz", x=np.zeros(3))
    reference = write_array(tmp_path, "a.npz", x=np.ones(5))
    assert read_arrays(tmp_path, reference)["x"].tolist() == [1.0] * 5
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_refuses_to_unpickle(tmp_path: Path) -> None:
    reference = write_array(tmp_path, "a.npz", x=np.zeros(3))
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        read_arrays(tmp_path, reference)

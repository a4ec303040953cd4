"""Snapshots: what is read is what was written, and nothing ragged gets in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.store.snapshot import INDEX, Snapshot, SnapshotIndex, SnapshotWriter

Array = np.ndarray[Any, Any]
Batches = list[tuple[dict[str, Array], Array | None]]


def write(directory: Path, batches: Batches) -> SnapshotIndex:
    with SnapshotWriter(directory) as writer:
        for inputs, target in batches:
            writer.append(inputs, target)
        return writer.finish()


def images(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).normal(size=(count, 3, 4)).astype(np.float32)


def test_arrays_come_back_in_their_order_with_dtype_and_shape(tmp_path: Path) -> None:
    first, second = images(0, 5), images(1, 3)
    lengths = np.arange(8, dtype=np.int64)
    index = write(
        tmp_path / "s",
        [
            ({"image": first, "length": lengths[:5]}, np.arange(5, dtype=np.int32)),
            ({"image": second, "length": lengths[5:]}, np.arange(5, 8, dtype=np.int32)),
        ],
    )
    snapshot = Snapshot(tmp_path / "s")
    assert snapshot.examples == index.examples == 8
    assert snapshot.index == index
    np.testing.assert_array_equal(snapshot.inputs["image"], np.concatenate([first, second]))
    np.testing.assert_array_equal(snapshot.inputs["length"], lengths)
    assert snapshot.inputs["image"].dtype == np.float32
    assert snapshot.targets is not None
    assert snapshot.targets.dtype == np.int32
    np.testing.assert_array_equal(snapshot.targets, np.arange(8))


def test_a_snapshot_from_before_there_was_padding_is_read(tmp_path: Path) -> None:
    index = write(tmp_path / "s", [({"x": images(0, 2)}, None)])
    stored = json.loads((tmp_path / "s" / INDEX).read_text())
    del stored["padding"]
    (tmp_path / "s" / INDEX).write_text(json.dumps(stored))
    assert Snapshot(tmp_path / "s").index == index


def test_arrays_in_fortran_order_come_back_as_they_looked(tmp_path: Path) -> None:
    array = np.asfortranarray(images(0, 6))
    write(tmp_path / "s", [({"x": array}, None)])
    np.testing.assert_array_equal(Snapshot(tmp_path / "s").inputs["x"], array)


def test_batches_cover_every_example_and_the_last_may_be_smaller(tmp_path: Path) -> None:
    array = images(0, 7)
    write(tmp_path / "s", [({"x": array}, None)])
    batches = [batch["x"] for batch in Snapshot(tmp_path / "s").batches(3)]
    assert [len(batch) for batch in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(batches), array)


def test_inputs_are_memory_mapped_and_read_only_and_batches_are_copies(tmp_path: Path) -> None:
    write(tmp_path / "s", [({"x": images(0, 4)}, None)])
    snapshot = Snapshot(tmp_path / "s")
    assert isinstance(snapshot.inputs["x"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        snapshot.inputs["x"][0] = 0
    before = snapshot.inputs["x"].copy()
    next(snapshot.batches(4))["x"][:] = 0
    np.testing.assert_array_equal(snapshot.inputs["x"], before)


def test_a_split_without_targets_has_none(tmp_path: Path) -> None:
    write(tmp_path / "s", [({"x": images(0, 2)}, None)])
    assert Snapshot(tmp_path / "s").targets is None


def test_an_input_may_be_called_target(tmp_path: Path) -> None:
    image, label = images(0, 4), np.arange(4)
    write(tmp_path / "with", [({"target": image}, label)])
    write(tmp_path / "without", [({"target": image}, None)])
    labelled, unlabelled = Snapshot(tmp_path / "with"), Snapshot(tmp_path / "without")
    np.testing.assert_array_equal(labelled.inputs["target"], image)
    np.testing.assert_array_equal(labelled.targets, label)  # type: ignore[arg-type]
    np.testing.assert_array_equal(unlabelled.inputs["target"], image)
    assert unlabelled.targets is None


def test_duplicates_are_examples_whose_inputs_are_those_of_an_earlier_one(tmp_path: Path) -> None:
    array = images(0, 5)
    array[3], array[4] = array[0], array[0]
    index = write(tmp_path / "s", [({"x": array}, np.arange(5))])
    assert index.duplicates == 2


def test_an_example_is_a_duplicate_only_if_all_of_its_inputs_are(tmp_path: Path) -> None:
    same = np.zeros((3, 2), dtype=np.float32)
    index = write(tmp_path / "s", [({"a": same, "b": np.arange(3)}, None)])
    assert index.duplicates == 0


def test_hashes_tell_examples_apart_and_do_not_depend_on_batches_or_targets(
    tmp_path: Path,
) -> None:
    array = images(0, 6)
    array[5] = array[2]
    write(tmp_path / "one", [({"x": array}, np.zeros(6))])
    write(tmp_path / "two", [({"x": array[:4]}, None), ({"x": array[4:]}, None)])
    one, two = Snapshot(tmp_path / "one").hashes, Snapshot(tmp_path / "two").hashes
    assert one.shape == (6,)
    assert one.tolist() == two.tolist()
    assert len(set(one.tolist())) == 5
    assert one[5] == one[2]


@pytest.mark.parametrize("change", ["input", "target", "order"])
def test_the_hash_of_a_split_changes_with_its_content(tmp_path: Path, change: str) -> None:
    array, target = images(0, 4), np.arange(4)
    before = write(tmp_path / "before", [({"x": array}, target)]).sha256
    if change == "input":
        array[2, 0, 0] += 1
    elif change == "target":
        target[0] = 9
    else:
        array, target = array[::-1], target[::-1]
    assert write(tmp_path / "after", [({"x": array}, target)]).sha256 != before


def test_the_same_content_has_the_same_hash(tmp_path: Path) -> None:
    one, two = (
        write(tmp_path / name, [({"x": images(0, 4)}, np.arange(4))]) for name in ("one", "two")
    )
    assert one == two


def test_the_writer_counts_as_it_goes(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s") as writer:
        assert (writer.examples, writer.distinct, writer.bytes_written) == (0, 0, 0)
        writer.append({"x": np.zeros((3, 2), dtype=np.float32)}, None)
        assert (writer.examples, writer.distinct, writer.bytes_written) == (3, 1, 24)


@pytest.mark.parametrize(
    ("inputs", "target", "message"),
    [
        pytest.param({"x": np.zeros((2, 5))}, np.zeros(2), "'x' is float64.5.", id="shape"),
        pytest.param(
            {"x": np.zeros((2, 4), np.float32)}, np.zeros(2), "'x' is float32", id="dtype"
        ),
        pytest.param({"x": np.zeros((2, 4))}, np.zeros((2, 1)), "'target' is", id="target's shape"),
        pytest.param({"x": np.zeros((2, 4))}, None, "in the first batch", id="no target"),
        pytest.param({"y": np.zeros((2, 4))}, np.zeros(2), "in the first batch", id="name"),
        pytest.param({"x": np.zeros((2, 4))}, np.zeros(3), "examples differs", id="length"),
    ],
)
def test_refuses_a_batch_unlike_the_first(
    tmp_path: Path, inputs: dict[str, Array], target: Array | None, message: str
) -> None:
    with SnapshotWriter(tmp_path / "s") as writer:
        writer.append({"x": np.zeros((3, 4))}, np.zeros(3))
        with pytest.raises(ValueError, match=message):
            writer.append(inputs, target)


def test_refuses_inputs_of_different_lengths_in_the_first_batch(tmp_path: Path) -> None:
    with (
        SnapshotWriter(tmp_path / "s") as writer,
        pytest.raises(ValueError, match="the number of examples differs"),
    ):
        writer.append({"a": np.zeros((3, 4)), "b": np.zeros((2, 4))}, None)

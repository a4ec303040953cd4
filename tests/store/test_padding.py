"""Examples of several lengths: stored in one, read in their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.store.padding import Padding, kept_length, padding_of
from mlopt.store.snapshot import Snapshot, SnapshotWriter
from mlopt.types.tensors import TensorSpec

Array = np.ndarray[Any, Any]

PADDING = Padding(
    mask="attention_mask", columns=("input_ids", "attention_mask"), fill={"input_ids": 9}
)


def ids(*lengths: int, width: int | None = None) -> dict[str, Array]:
    """Texts of these lengths, padded to the longest or to ``width``; and a number for each."""
    width = width or max(lengths)
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
    counted = np.arange(1, width + 1) + 100 * np.array(lengths)[:, None]
    return {
        "input_ids": np.where(mask == 1, counted, 9),
        "attention_mask": mask,
        "size": np.array(lengths, np.float32),
    }


def write(
    directory: Path, *batches: dict[str, Array], targets: list[Array] | None = None
) -> Snapshot:
    with SnapshotWriter(directory, PADDING) as writer:
        for i, batch in enumerate(batches):
            writer.append(batch, None if targets is None else targets[i])
        writer.finish()
    return Snapshot(directory)


def spec(name: str, *shape: int | str, dtype: str = "int64") -> TensorSpec:
    return TensorSpec.model_validate({"name": name, "dtype": dtype, "shape": shape})


def test_batches_of_several_lengths_become_arrays_of_one(tmp_path: Path):
    whole = write(tmp_path / "s", ids(3, 2), ids(5), ids(1, 4))
    assert whole.length == 5
    np.testing.assert_array_equal(whole.inputs["input_ids"], ids(3, 2, 5, 1, 4)["input_ids"])
    np.testing.assert_array_equal(whole.inputs["attention_mask"].sum(1), [3, 2, 5, 1, 4])
    np.testing.assert_array_equal(whole.inputs["size"], [3, 2, 5, 1, 4])


def test_a_batch_is_read_without_the_columns_that_pad_all_of_it(tmp_path: Path):
    whole = write(tmp_path / "s", ids(3, 2, 5, 1, width=8))
    assert [batch["input_ids"].shape for batch in whole.batches(2)] == [(2, 3), (2, 5)]
    assert [batch["attention_mask"].shape for batch in whole.batches(1)] == [
        (1, 3),
        (1, 2),
        (1, 5),
        (1, 1),
    ]
    (batch,) = whole.batches(4)
    np.testing.assert_array_equal(batch["input_ids"], ids(3, 2, 5, 1)["input_ids"])
    taken = whole.take(np.array([3, 1]))
    assert taken["input_ids"].shape == (2, 2)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in taken.values())
    assert len(taken["size"]) == 2


def test_targets_of_tokens_are_lengthened_with_them(tmp_path: Path):
    def tags(batch: dict[str, Array]) -> Array:
        return np.where(batch["attention_mask"] == 1, batch["input_ids"], -100)

    batches = [ids(3, 2), ids(5), ids(1)]
    whole = write(tmp_path / "s", *batches, targets=[tags(batch) for batch in batches])
    assert whole.targets is not None
    np.testing.assert_array_equal(whole.targets, tags(ids(3, 2, 5, 1)))


def test_other_targets_keep_their_width(tmp_path: Path):
    batches = [ids(2), ids(4), ids(3)]
    spans = [np.array([[i, i + 1]]) for i in range(3)]
    whole = write(tmp_path / "s", *batches, targets=spans)
    assert whole.targets is not None
    assert whole.targets.tolist() == [[0, 1], [1, 2], [2, 3]]


def test_an_example_has_one_hash_however_it_is_padded(tmp_path: Path):
    short = write(tmp_path / "a", ids(3, 2))
    padded = write(tmp_path / "b", ids(3, 2, width=7))
    np.testing.assert_array_equal(short.hashes, padded.hashes)
    other = ids(3, 2)
    other["input_ids"][0, 2] += 1
    assert short.hashes[0] != write(tmp_path / "c", other).hashes[0]


def test_the_identity_does_not_depend_on_how_it_was_batched(tmp_path: Path):
    once = write(tmp_path / "a", ids(3, 2, 5))
    twice = write(tmp_path / "b", ids(3, 2), ids(5))
    assert once.index.sha256 == twice.index.sha256


def test_a_snapshot_without_padding_is_read_whole(tmp_path: Path):
    with SnapshotWriter(tmp_path / "s") as writer:
        writer.append(ids(2, 3, width=6), None)
        writer.finish()
    whole = Snapshot(tmp_path / "s")
    assert whole.length is None
    assert next(whole.batches(2))["input_ids"].shape == (2, 6)


@pytest.mark.parametrize(
    ("mask", "length"), [([[1, 1, 0]], 2), ([[0, 0, 0]], 1), ([[1, 0, 1], [1, 0, 0]], 3)]
)
def test_the_kept_length_is_that_of_the_longest_and_at_least_one(mask, length):
    assert kept_length(np.array(mask)) == length


def test_what_is_padded_shares_its_axis_with_the_mask():
    mask = spec("attention_mask", "batch", "tokens")
    others = (
        spec("ids", "batch", "tokens"),
        spec("extra", "batch", "tokens", 4),
        spec("n", "batch"),
    )
    found = padding_of((*others, mask), {"ids": 3, "n": 1, "extra": 0})
    assert found == Padding(
        mask="attention_mask", columns=("ids", "extra", "attention_mask"), fill={"ids": 3}
    )
    for no_mask in (
        spec("attention_mask", "batch", 8),
        spec("attention_mask", "batch", "tokens", dtype="float32"),
        spec("mask", "batch", "tokens"),
    ):
        assert padding_of((*others, no_mask)) is None

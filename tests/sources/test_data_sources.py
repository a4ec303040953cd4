"""Every way of bringing data that is accepted, and the contract of a data source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlopt.sources.contract import ReadLimits, check_inputs, read_split
from mlopt.sources.data import DATA_SOURCES
from mlopt.sources.data.function import FunctionData
from mlopt.sources.data.npz import NpzData
from mlopt.sources.endless import CycleWatch, period
from mlopt.store.snapshot import Snapshot
from mlopt.types.tensors import TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
TWO = (
    TensorSpec(name="left", dtype="float32", shape=("batch", 4)),
    TensorSpec(name="right", dtype="float32", shape=("batch", "wide")),
)
LIMITS = ReadLimits(examples=10_000, size_bytes=10_000_000)

HEAD = """\
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

x = np.arange(400, dtype=np.float32).reshape(100, 4)
y = np.arange(100) % 3


class Rows(Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, i):
        return x[i], int(y[i])


class Named(Rows):
    def __getitem__(self, i):
        return {"x": x[i]}, y[i]


def batches():
    for i in range(0, 100, 30):
        yield x[i : i + 30], y[i : i + 30]


"""

WAYS = {
    "a generator function": "split = batches",
    "a generator": "split = batches()",
    "a list of batches": "split = list(batches())",
    "a tuple of batches": "split = tuple(batches())",
    "a function that returns a list of batches": "def split():\n    return list(batches())",
    "batches that are lists": "def split():\n    return [list(b) for b in batches()]",
    "inputs by name": "def split():\n    return [({'x': a}, b) for a, b in batches()]",
    "inputs as a tuple": "def split():\n    return [((a,), b) for a, b in batches()]",
    "plain lists of numbers": (
        "def split():\n    return [({'x': torch.from_numpy(a)}, b.tolist()) for a, b in batches()]"
    ),
    "tensors with gradients": (
        "def split():\n    return [(torch.tensor(a, requires_grad=True), b) for a, b in batches()]"
    ),
    "a Dataset": "split = Rows()",
    "the class of a Dataset": "split = Rows",
    "a function that returns a Dataset": "def split():\n    return Rows()",
    "a Dataset of named inputs": "split = Named()",
    "a DataLoader": "split = DataLoader(Rows(), batch_size=7)",
    "a DataLoader of tensors": (
        "def split():\n"
        "    return DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), 16)"
    ),
    "an object with a method that iterates": (
        "class Split:\n    def __iter__(self):\n        return batches()\n\n\nsplit = Split()"
    ),
}


def _read(directory: Path, specs: tuple[TensorSpec, ...], **arguments: object) -> Snapshot:
    source = FunctionData(function="data:split", arguments=arguments)
    target = directory / "snapshot"
    read_split(source, "selection", specs, directory, target, LIMITS)
    return Snapshot(target)


@pytest.mark.parametrize("way", WAYS)
def test_takes(way, project_dir):
    directory = project_dir(files={"data.py": HEAD + WAYS[way] + "\n"})
    snapshot = _read(directory, (X,))
    assert snapshot.examples == 100
    np.testing.assert_array_equal(snapshot.inputs["x"], np.arange(400).reshape(100, 4))
    np.testing.assert_array_equal(snapshot.targets, np.arange(100) % 3)


PAIRS = {
    "as a tuple": "yield (x, x + 1), y",
    "as a list": "yield [x, x + 1], y",
    "by name, in any order": "yield {'right': x + 1, 'left': x}, y",
    "as Python lists": "yield (x.tolist(), x.tolist()), y",
}


@pytest.mark.parametrize("way", PAIRS)
def test_takes_two_inputs(way, project_dir):
    dtype = "float64" if "Python" in way else "float32"
    specs = tuple(spec.model_copy(update={"dtype": dtype}) for spec in TWO)
    body = f"def split():\n    {PAIRS[way]}\n"
    snapshot = _read(project_dir(files={"data.py": HEAD + body}), specs)
    assert list(snapshot.inputs) == ["left", "right"]
    shift = 0 if "Python" in way else 1
    np.testing.assert_array_equal(snapshot.inputs["right"], snapshot.inputs["left"] + shift)


def test_passes_the_arguments_to_the_function(project_dir):
    body = "def split(first, rows):\n    yield x[first : first + rows], y[:rows]\n"
    snapshot = _read(project_dir(files={"data.py": HEAD + body}), (X,), first=20, rows=5)
    np.testing.assert_array_equal(snapshot.inputs["x"][:, 0], [80, 84, 88, 92, 96])


def test_calibration_goes_without_targets(project_dir, tmp_path: Path):
    directory = project_dir(files={"data.py": HEAD + "split = [a for a, _ in batches()]\n"})
    source = FunctionData(function="data:split")
    index = read_split(source, "calibration", (X,), directory, tmp_path / "snapshot", LIMITS)
    assert (index.examples, index.target) == (100, None)


def test_reads_the_arrays_of_an_npz_file_by_name(tmp_path: Path):
    x = np.arange(400, dtype=np.float32).reshape(100, 4)
    np.savez(tmp_path / "s.npz", right=x + 1, left=x, label=np.arange(100), unused=5)
    source = NpzData(npz="s.npz", target="label")
    read_split(source, "holdout", TWO, tmp_path, tmp_path / "snapshot", LIMITS)
    snapshot = Snapshot(tmp_path / "snapshot")
    np.testing.assert_array_equal(snapshot.inputs["right"], x + 1)
    np.testing.assert_array_equal(snapshot.targets, np.arange(100))


def test_an_npz_file_may_hold_the_same_example_over_and_over(tmp_path: Path):
    np.savez(tmp_path / "s.npz", x=np.ones((3000, 4), np.float32), target=np.zeros(3000, int))
    source = NpzData(npz="s.npz")
    index = read_split(source, "holdout", (X,), tmp_path, tmp_path / "snapshot", LIMITS)
    assert (index.examples, index.duplicates) == (3000, 2999)


def test_inputs_come_back_in_the_order_of_the_project():
    found = {"right": np.ones((2, 9), np.float32), "left": np.ones((2, 4), np.float32)}
    assert list(check_inputs(found, TWO, "here")) == ["left", "right"]


@pytest.mark.parametrize(
    ("word", "length"),
    [("a", 1), ("aaaa", 1), ("abab", 2), ("ababa", 2), ("abcd", 4), ("aabaab", 3), ("abaababa", 5)],
)
def test_the_period_of_a_word(word, length):
    assert period([letter.encode() for letter in word]) == length


def test_no_cycle_is_seen_before_it_came_ten_times():
    watch = CycleWatch()
    arrays = [np.full((2, 1), i % 5) for i in range(64)]
    looks = [watch.sees_cycle({"x": array}) for array in arrays]
    assert [i for i, length in enumerate(looks) if length] == [63]
    assert looks[63] == 5


@pytest.mark.parametrize("name", sorted(DATA_SOURCES.entries))
def test_a_data_source_is_called_like_its_file_and_like_one_of_its_keys(name):
    source = DATA_SOURCES[name]
    assert source.__module__.split(".")[-1].startswith(name)
    assert name in source.model_fields
    assert source.summary
    for field in source.model_fields:
        assert f"{field}: " in (source.__doc__ or "")
    schema = source.model_json_schema()
    assert schema["additionalProperties"] is False
    assert name in schema["required"]


@pytest.mark.parametrize("source", [FunctionData(function="a:b"), NpzData(npz="a.npz")])
def test_a_data_source_survives_json(source):
    assert type(source).model_validate_json(source.model_dump_json()) == source

"""Every way of breaking the data contract, and what the user is told."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.errors import ConfigError, DataError
from mlopt.sources.contract import ReadLimits, check_overlap, read_split
from mlopt.sources.data.function import FunctionData
from mlopt.sources.data.npz import NpzData
from mlopt.sources.targets import check_labels
from mlopt.store.snapshot import Snapshot, SnapshotWriter
from mlopt.types.tensors import TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=("batch", 4))
IDS = TensorSpec(name="ids", dtype="int64", shape=("batch", "length"))
MASK = TensorSpec(name="mask", dtype="int64", shape=("batch", "length"))
LIMITS = ReadLimits(examples=5000, size_bytes=10_000_000)

Read = Callable[..., Snapshot]


@pytest.fixture
def read(project_dir, tmp_path: Path) -> Read:
    """Reads a split whose code is the body of a function, given x (5, 4) and y (5,)."""

    def read(
        body: str,
        specs: tuple[TensorSpec, ...] = (X,),
        split: str = "selection",
        limits: ReadLimits = LIMITS,
    ) -> Snapshot:
        head = "import numpy as np\nx = np.ones((5, 4), np.float32)\ny = np.arange(5) % 3\n"
        code = head + "def selection():\n" + "".join(f"    {line}\n" for line in body.split("\n"))
        directory = project_dir(files={"data.py": code})
        source = FunctionData(function="data:selection")
        read_split(source, split, specs, directory, tmp_path / "snapshot", limits)
        return Snapshot(tmp_path / "snapshot")

    return read


PLACE = "data.selection, batch 0"
CODE = "data.selection: 'data:selection'"

BATCHES: dict[str, tuple[str, str]] = {
    "an input by another name": (
        "yield {'image': x}, y",
        f"{PLACE}: the inputs are called 'image'; 'inputs' in mlopt.yaml says 'x'.",
    ),
    "no input at all": (
        "yield {}, y",
        f"{PLACE}: the inputs are called nothing; 'inputs' in mlopt.yaml says 'x'.",
    ),
    "an input too many": (
        "yield {'x': x, 'y': y}, y",
        f"{PLACE}: the inputs are called 'x', 'y'; 'inputs' in mlopt.yaml says 'x'.",
    ),
    "another dtype": (
        "yield x.astype('float64'), y",
        f"{PLACE}: 'x' is float64 and 'inputs' says float32. Convert it in the data function "
        "(.astype('float32')), or correct 'inputs'.",
    ),
    "bytes in the other order": (
        "yield x.astype('>f4'), y",
        f"{PLACE}: 'x' is >f4 and 'inputs' says float32. Convert it in the data function "
        "(.astype('float32')), or correct 'inputs'.",
    ),
    "another number of features": (
        "yield x[:, :3], y",
        f"{PLACE}: 'x' has shape [5, 3] and 'inputs' says [batch, 4]. Correct the data function "
        "or 'inputs'.",
    ),
    "an axis too few": (
        "yield x[0], y[:4]",
        f"{PLACE}: 'x' has shape [4] and 'inputs' says [batch, 4]. Correct the data function or "
        "'inputs'.",
    ),
    "an axis too many": (
        "yield x[:, None], y",
        f"{PLACE}: 'x' has shape [5, 1, 4] and 'inputs' says [batch, 4]. Correct the data "
        "function or 'inputs'.",
    ),
    "NaN in an input": (
        "x[3, 1] = np.nan\nyield x, y",
        f"{PLACE}: 'x' of example 3 holds NaN or infinity. Clean the data.",
    ),
    "infinity in the second batch": (
        "yield x, y\nz = x.copy()\nz[0, 0] = -np.inf\nyield z, y",
        "data.selection, batch 1: 'x' of example 0 holds NaN or infinity. Clean the data.",
    ),
    "a target of NaN": (
        "yield x, np.full(5, np.nan)",
        f"{PLACE}: a target is NaN or infinite. Clean the data.",
    ),
    "targets that are text": (
        "yield x, np.array(['cat', 'dog', 'cat', 'dog', 'cat'])",
        f"{PLACE}: the targets are <U3, and must be numbers. Map the labels to 0, 1, 2, ... in "
        "the data function.",
    ),
    "no targets": (
        "yield x",
        f"{PLACE} has no targets: yield (inputs, targets). Only calibration goes without.",
    ),
    "more inputs than targets": (
        "yield x, y[:3]",
        f"{PLACE}: 5 examples and 3 targets. Yield one target for each example.",
    ),
    "a target that is one number": (
        "yield x, 1",
        f"{CODE} yields an object of type int where an array with a batch axis belongs.",
    ),
    "rows of several lengths": (
        "yield x[:2], [[1.0], [1.0, 2.0]]",
        f"{CODE} yields a list that makes no array: setting an array element with a sequence. The "
        "requested array has an inhomogeneous shape after 1 dimensions. The detected shape was "
        "(2,) + inhomogeneous part. Pad or crop the examples to one size.",
    ),
    "objects in an array": (
        "yield np.array([{}, {}]), y[:2]",
        f"{CODE} yields an object of type ndarray where an array with a batch axis belongs.",
    ),
    "more arrays than inputs": (
        "yield (x, x, x), y",
        f"{CODE} yields 3 arrays for the 1 inputs x. A batch is (inputs, targets); several inputs "
        "are a tuple or a mapping.",
    ),
    "targets of another shape later": (
        "yield x, y\nyield x, y[:, None]",
        "data.selection, batch 1: 'target' is int64[1] here and int64[] in the first batch. All "
        "examples of a split must have one size: pad or crop them in the data function.",
    ),
    "targets that change their type": (
        "yield x, y\nyield x, y.astype(float)",
        "data.selection, batch 1: 'target' is float64[] here and int64[] in the first batch. All "
        "examples of a split must have one size: pad or crop them in the data function.",
    ),
    "no batch": (
        "return iter(())",
        "data.selection is empty: its source yields no batch. Check the path or the filter in it.",
    ),
    "batches without examples": (
        "yield x[:0], y[:0]",
        "data.selection is empty: its source yields no batch. Check the path or the filter in it.",
    ),
    "a number instead of batches": (
        "return 5",
        f"{CODE} gives an object of type int; it must give an iterable of batches, a DataLoader or "
        "a Dataset.",
    ),
    "nothing, for want of a return": (
        "x.sum()",
        f"{CODE} gives an object of type NoneType; it must give an iterable of batches, a "
        "DataLoader or a Dataset.",
    ),
    "a mapping instead of batches": (
        "return {'x': x, 'target': y}",
        f"{CODE} gives an object of type dict; it must give an iterable of batches, a DataLoader "
        "or a Dataset.",
    ),
    "the name of a file": (
        "return 'data.csv'",
        f"{CODE} gives an object of type str; it must give an iterable of batches, a DataLoader or "
        "a Dataset.",
    ),
    "an error in the middle": (
        "yield x, y\nraise OSError('the disk is gone')",
        f"{CODE} raised OSError: the disk is gone (data.py, line 6)",
    ),
    "an index out of range": (
        "yield x[7], y",
        f"{CODE} raised IndexError: index 7 is out of bounds for axis 0 with size 5 "
        "(data.py, line 5)",
    ),
}


@pytest.mark.parametrize("case", BATCHES)
def test_refuses_a_split_with(case, read, refuses):
    body, message = BATCHES[case]
    with refuses(DataError, message):
        read(body)


TOKENS = "ids = np.ones((5, 7), np.int64)\n"

SEQUENCES: dict[str, tuple[str, str]] = {
    "several lengths across batches": (
        "yield (ids, ids), y\nyield (ids[:, :6], ids[:, :6]), y",
        "data.selection, batch 1: 'ids' is int64[6] here and int64[7] in the first batch. All "
        "examples of a split must have one size: pad or crop them in the data function.",
    ),
    "two sizes for one axis": (
        "yield (ids, ids[:, :6]), y",
        f"{PLACE}: the axis 'length' has size 7 in 'ids' and 6 in 'mask'. Give it two names in "
        "'inputs', or pad both to one size.",
    ),
    "inputs of several lengths": (
        "yield (ids, ids[:4]), y",
        f"{PLACE}: the inputs differ in their number of examples: 'ids' has 5, 'mask' has 4. "
        "Every input needs one row for each example.",
    ),
    "an input too few": (
        "yield {'ids': ids}, y",
        f"{PLACE}: the inputs are called 'ids'; 'inputs' in mlopt.yaml says 'ids', 'mask'.",
    ),
    "two arrays, which are the inputs, and no targets": (
        "yield ids, ids",
        f"{PLACE} has no targets: yield (inputs, targets). Only calibration goes without.",
    ),
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_refuses_a_split_for_two_inputs_with(case, read, refuses):
    body, message = SEQUENCES[case]
    with refuses(DataError, message):
        read(TOKENS + body, specs=(IDS, MASK))


ENDLESS: dict[str, tuple[str, int]] = {
    "one batch again and again": ("while True:\n    yield x, y", 1),
    "seven batches in a cycle": (
        "import itertools\nyield from itertools.cycle([(x + i, y) for i in range(7)])",
        7,
    ),
    "single examples in a cycle": (
        "i = 0\nwhile True:\n    yield x[:1] + i % 50, y[:1]\n    i += 1",
        50,
    ),
    "an unfortunate size of batches": (
        "a = np.arange(600 * 4, dtype=np.float32).reshape(600, 4)\nb = np.zeros(600, int)\n"
        "while True:\n    yield a[:400], b[:400]\n    yield a[400:], b[400:]",
        2,
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_notices_that_a_split_does_not_end(case, read, refuses):
    body, length = ENDLESS[case]
    limits = ReadLimits(examples=50_000, size_bytes=10**9)
    with refuses(
        DataError,
        f"data.selection does not seem to end: the same {length} batches came 10 times over. "
        "Yield every example once.",
    ):
        read(body, limits=limits)


def test_gives_up_on_a_split_that_never_repeats(read, refuses):
    body = "r = np.random.default_rng(0)\nwhile True:\n    yield r.random((500, 4), 'float32'), "
    with refuses(
        DataError,
        "data.selection did not end after 5500 examples (0 MB). If it is that large, raise "
        "limits.examples or limits.data_mb in mlopt.yaml; if it is endless, yield every example "
        "once.",
    ):
        read(body + "np.zeros(500, int)")


def test_gives_up_on_a_split_that_is_larger_than_its_limit(read, refuses):
    body = "for i in range(20):\n    yield np.full((10000, 4), i, 'float32'), np.zeros(10000, int)"
    with refuses(
        DataError,
        "data.selection did not end after 10000 examples (0 MB). If it is that large, raise "
        "limits.examples or limits.data_mb in mlopt.yaml; if it is endless, yield every example "
        "once.",
    ):
        read(body, limits=ReadLimits(examples=10**6, size_bytes=200_000))


def test_a_finite_split_of_few_different_examples_is_not_taken_for_endless(read):
    body = (
        "r = np.random.default_rng(0)\nfor _ in range(400):\n"
        "    yield r.integers(0, 2, (5, 4)).astype('float32'), y"
    )
    index = read(body).index
    assert (index.examples, index.examples - index.duplicates) == (2000, 16)


def test_a_data_set_that_is_held_twice_is_not_taken_for_endless(read):
    body = "for _ in range(2):\n    for i in range(40):\n        yield x[:1] + i, y[:1]"
    assert read(body).index.duplicates == 40


LABELS: dict[str, tuple[Any, str]] = {
    "beyond the last class": (
        [0, 1, 3],
        "the labels range from 0 to 3, and the model knows the classes 0 to 2. Map the labels to "
        "them.",
    ),
    "below zero": (
        [-1, 0, 1],
        "the labels range from -1 to 1, and the model knows the classes 0 to 2. Map the labels to "
        "them.",
    ),
    "that are floats": (
        [0.0, 1.0, 2.0],
        "the targets of a classification are class numbers, and these are float64. Convert them "
        "to int64, or set 'task: regression'.",
    ),
    "in a column": (
        [[0], [1], [2]],
        "the targets have shape [3, 1]; class numbers have shape (N,). Flatten them with "
        ".reshape(-1).",
    ),
    "that are one-hot": (
        [[0, 1, 0], [1, 0, 0]],
        "the targets have shape [2, 3]; class numbers have shape (N,). Undo the one-hot encoding "
        "with .argmax(axis=1).",
    ),
    "that are one-hot floats": (
        [[0.0, 1.0, 0.0]],
        "the targets have shape [1, 3]; class numbers have shape (N,). Undo the one-hot encoding "
        "with .argmax(axis=1).",
    ),
}


def _snapshot(directory: Path, values: Any, target: Any) -> Snapshot:
    with SnapshotWriter(directory) as writer:
        writer.append({"x": np.asarray(values, np.float32)}, target)
        writer.finish()
    return Snapshot(directory)


@pytest.mark.parametrize("case", LABELS)
def test_refuses_labels(case, tmp_path: Path, refuses):
    labels, message = LABELS[case]
    target = np.array(labels)
    snapshot = _snapshot(tmp_path / "s", np.arange(len(target)), target)
    with refuses(DataError, f"data.holdout: {message}"):
        check_labels(snapshot, "holdout", classes=3)


@pytest.mark.parametrize("labels", [[0, 1], [False, True], np.array([0, 1], "uint8")])
def test_a_single_score_takes_the_labels_of_two_classes(labels, tmp_path: Path):
    check_labels(_snapshot(tmp_path / "s", [0, 1], np.array(labels)), "holdout", classes=1)


OVERLAPS = [
    ("selection", "holdout"),
    ("calibration", "holdout"),
    ("training", "holdout"),
    ("calibration", "selection"),
    ("training", "selection"),
]


@pytest.mark.parametrize(("first", "second"), OVERLAPS)
def test_refuses_splits_that_share_examples(first, second, tmp_path: Path, refuses):
    splits = {
        first: _snapshot(tmp_path / first, range(10), None),
        second: _snapshot(tmp_path / second, range(7, 17), None),
    }
    with refuses(
        DataError,
        f"data: {first} and {second} share 3 examples. A number measured on seen examples "
        "flatters: give each example to one of them (only calibration may lie inside training).",
    ):
        check_overlap(splits)


def test_calibration_may_lie_inside_training(tmp_path: Path):
    calibration = _snapshot(tmp_path / "c", range(5), None)
    check_overlap(
        {"calibration": calibration, "training": _snapshot(tmp_path / "t", range(9), None)}
    )


IMPORTS: dict[str, tuple[dict[str, str | None], str, str]] = {
    "from a module that is not there": (
        {},
        "dta:selection",
        "data.selection: no module 'dta' beside mlopt.yaml. Did you mean 'data'?",
    ),
    "by a name that is not there": (
        {},
        "data:selecton",
        "data.selection: 'data' has no 'selecton'. Did you mean 'selection'?",
    ),
    "from a module that needs what is not installed": (
        {"data.py": "import no_such_package\n"},
        "data:selection",
        "data.selection: importing 'data' failed: No module named 'no_such_package'. Install "
        "'no_such_package' beside mlopt.",
    ),
    "from a module that raises": (
        {"data.py": "\n1 / 0\n"},
        "data:selection",
        "data.selection: importing 'data' raised ZeroDivisionError: division by zero "
        "(data.py, line 2)",
    ),
    "from a module that is no Python": (
        {"data.py": "def selection(:\n"},
        "data:selection",
        "data.selection: importing 'data' raised SyntaxError: invalid syntax (data.py, line 1)",
    ),
    "from a module that Python hides": (
        {"types.py": "def selection(): ...\n"},
        "types:selection",
        "data.selection: 'types' is also the name of a module that Python already has, which "
        "hides the project's types.py. Rename the file.",
    ),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_refuses_a_function(case, project_dir, refuses):
    files, function, message = IMPORTS[case]
    source = FunctionData(function=function)
    with refuses(ConfigError, message):
        list(source.batches(project_dir(files=files), ("x",), "data.selection"))


def test_refuses_an_argument_that_the_function_does_not_take(project_dir, refuses):
    source = FunctionData(function="data:selection", arguments={"size": 3})
    with refuses(
        DataError,
        "data.selection: 'data:selection' raised TypeError: selection() got an unexpected keyword "
        "argument 'size'",
    ):
        list(source.batches(project_dir(), ("x",), "data.selection"))


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def _zip_of_text() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.npy", "no array")
    return buffer.getvalue()


ROWS = np.zeros((5, 4), np.float32)
BROKEN = "data.selection: s.npz is no readable .npz file"

FILES: dict[str, tuple[bytes, str]] = {
    "is empty": (b"", f"{BROKEN}: No data left in file. Save it again with numpy.savez."),
    "is text": (b"x,y\n1,2\n" * 9, f"{BROKEN}: not a zip file. Save it again with numpy.savez."),
    "is cut short": (_npz(x=ROWS, target=np.zeros(5))[:-40], BROKEN),
    "has a damaged member": (_npz(x=ROWS).replace(b"descr", b"dexcr"), BROKEN),
    "is a zip of something else": (
        _zip_of_text(),
        "data.selection: s.npz has no array for the input x (it has none). Save it with "
        "numpy.savez(x=..., ...).",
    ),
    "holds objects": (
        _npz(x=np.array([{}, {}])),
        f"{BROKEN}: Object arrays cannot be loaded when allow_pickle=False. Save it again with "
        "numpy.savez.",
    ),
    "is a .npy file": (
        _npy(),
        "data.selection: s.npz holds one unnamed array. Save it again with numpy.savez.",
    ),
    "lacks an input": (
        _npz(image=ROWS, target=np.zeros(5)),
        "data.selection: s.npz has no array for the input x (it has image, target). Save it with "
        "numpy.savez(x=..., ...).",
    ),
    "holds nothing": (
        _npz(),
        "data.selection: s.npz has no array for the input x (it has none). Save it with "
        "numpy.savez(x=..., ...).",
    ),
    "holds arrays of several lengths": (
        _npz(x=ROWS, target=np.zeros(4)),
        "data.selection: the arrays of s.npz differ in length: x 5, target 4.",
    ),
    "holds a single number": (
        _npz(x=ROWS, target=np.float32(1)),
        "data.selection: 'target' in s.npz is a single number. Save an array whose first axis "
        "counts the examples.",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_refuses_an_npz_file_that(case, tmp_path: Path):
    content, message = FILES[case]
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(NpzData(npz="s.npz").batches(tmp_path, ("x",), "data.selection"))
    text = str(caught.value)
    assert text == message or (message == BROKEN and text.startswith(f"{BROKEN}: "))
    assert message != BROKEN or text.endswith("Save it again with numpy.savez.")


def test_an_npz_file_without_targets_does_for_calibration_only(tmp_path: Path, refuses):
    (tmp_path / "s.npz").write_bytes(_npz(x=ROWS))
    source = NpzData(npz="s.npz")
    index = read_split(source, "calibration", (X,), tmp_path, tmp_path / "calibration", LIMITS)
    assert index.target is None
    with refuses(
        DataError,
        "data.holdout, batch 0 has no targets: yield (inputs, targets). Only calibration goes "
        "without.",
    ):
        read_split(source, "holdout", (X,), tmp_path, tmp_path / "holdout", LIMITS)

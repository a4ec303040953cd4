"""The data sources ``jsonl`` and ``csv``: columns find their roles, and bad rows are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.errors import DataError
from mlopt.sources.contract import ReadLimits, read_split
from mlopt.sources.data import DATA_SOURCES, Batch
from mlopt.store.snapshot import Snapshot
from mlopt.types.tensors import TensorSpec

PLACE = "data.holdout"
X = TensorSpec(name="x", dtype="float32", shape=("batch", 2))
LIMITS = ReadLimits(10_000, 10**8)


def csv(path: Path, text: str, **options: Any) -> list[Batch]:
    (path / "rows.csv").write_text(text)
    source = DATA_SOURCES["csv"].model_validate({"csv": "rows.csv", **options})
    assert not list(source.problems(path))
    return list(source.batches(path, ("x",), PLACE))


def jsonl(path: Path, *rows: Any, inputs: tuple[str, ...] = ("x",), **options: Any) -> list[Batch]:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (path / "rows.jsonl").write_text("\n".join(lines))
    source = DATA_SOURCES["jsonl"].model_validate({"jsonl": "rows.jsonl", **options})
    return list(source.batches(path, inputs, PLACE))


def test_the_columns_of_a_table_are_the_input_and_the_last_word_is_the_target(tmp_path: Path):
    rows = "\n".join(f"{i},{i / 2},{i % 3}" for i in range(100))
    first, second = csv(tmp_path, f"age,height,target\n{rows}\n")
    assert len(first.inputs["x"]) + len(second.inputs["x"]) == 100
    np.testing.assert_array_equal(first.inputs["x"][:3], [[0, 0], [1, 0.5], [2, 1]])
    assert first.target.dtype == np.int64
    assert first.target[:4].tolist() == [0, 1, 2, 0]
    assert first.rows[1] == "data.holdout: rows.csv, line 3"


def test_numbers_get_the_type_that_inputs_says(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("a,b,target\n1,2,0\n3,4,1\n")
    source = DATA_SOURCES["csv"].model_validate({"csv": "rows.csv"})
    read_split(source, "holdout", (X,), tmp_path, tmp_path / "snapshot", LIMITS)
    stored = Snapshot(tmp_path / "snapshot")
    assert stored.inputs["x"].dtype == np.float32
    assert stored.inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert stored.targets is not None
    assert stored.targets.tolist() == [0, 1]
    counts = X.model_copy(update={"dtype": "int64"})
    (tmp_path / "rows.csv").write_text("a,b,target\n1,2.5,0\n")
    with pytest.raises(DataError, match="'x' has values that are no int64"):
        read_split(source, "holdout", (counts,), tmp_path, tmp_path / "other", LIMITS)


def test_one_fraction_far_below_makes_all_targets_fractions(tmp_path: Path):
    rows = "\n".join("0,0,1" for _ in range(99))
    batches = csv(tmp_path, f"a,b,target\n{rows}\n0,0,1.5\n")
    assert {batch.target.dtype for batch in batches} == {np.dtype(np.float64)}
    assert csv(tmp_path, "a,b,target\n0,0,1\n0,0,yes\n")[0].target == ["1", "yes"]


def test_columns_say_which_is_what(tmp_path: Path):
    columns = {"x": ["b", "a"], "target": "c"}
    (batch,) = csv(tmp_path, "a;b;c;d\n1;2;3;x\n", columns=columns, delimiter=";")
    assert batch.inputs["x"].tolist() == [[2, 1]]
    assert batch.target.tolist() == [3]
    (batch,) = csv(
        tmp_path, "review,stars\nso so,3\n", columns={"text": "review", "label": "stars"}
    )
    assert batch.inputs == {"text": ["so so"]}
    assert batch.target == ["3"], "a model that reads texts knows whether it is a name"


def test_a_label_that_is_a_text_stays_one_even_if_it_is_a_number(tmp_path: Path):
    (batch,) = jsonl(tmp_path, {"x": [0], "label": "1"}, {"x": [1], "label": "2"})
    assert batch.target == ["1", "2"]
    (batch,) = jsonl(tmp_path, {"text": "so so", "label": 3})
    assert batch.target.tolist() == [3]


def test_columns_of_one_input_must_have_one_shape(tmp_path: Path):
    with pytest.raises(DataError, match=r"line 1: 'a' has shape \[\], and 'b' has shape \[2\]"):
        jsonl(tmp_path, {"a": 1, "b": [1, 2]}, columns={"x": ["a", "b"]})


def test_several_inputs_come_from_the_columns_with_their_names(tmp_path: Path):
    rows = [{"a": [1, 2], "b": 3, "label": 0}, {"a": [3, 4], "b": 5, "label": 1}]
    (batch,) = jsonl(tmp_path, *rows, inputs=("a", "b"))
    assert batch.inputs["a"].tolist() == [[1, 2], [3, 4]]
    assert batch.inputs["b"].tolist() == [3, 5]
    assert batch.target.tolist() == [0, 1]


def test_raw_columns_stay_as_they_are(tmp_path: Path):
    rows = [
        {"tokens": ["a", "b"], "tags": [0, 1]},
        {"tokens": ["c"], "tags": [2]},
    ]
    (batch,) = jsonl(tmp_path, rows[0], "", rows[1])
    assert batch.inputs == {"tokens": [["a", "b"], ["c"]], "tags": [[0, 1], [2]]}
    assert batch.target is None
    assert batch.rows[1] == "data.holdout: rows.jsonl, line 3"


def test_images_are_found_beside_the_file(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"x")
    (batch,) = jsonl(tmp_path, {"image": "a.png", "label": "cat"})
    assert batch.inputs["image"] == [tmp_path / "a.png"]
    assert batch.target == ["cat"]
    with pytest.raises(DataError, match=r"line 2: there is no image 'b\.png'"):
        jsonl(tmp_path, {"image": "a.png", "label": 0}, {"image": "b.png", "label": 0})


BAD_CSV = {
    "a value too many": ("a,b\n1,2\n1,2,3\n", {}, "line 3 has 3 values"),
    "no number": ("a,b\n1,2\n1,two\n", {}, "line 3: 'b' is 'two', which is no finite number"),
    "not a number": ("a,b\n1,nan\n", {}, "line 2: 'b' is 'nan'"),
    "a column twice": ("a,a\n1,2\n", {}, "line 1 names a column twice"),
    "an unclosed quote": ('a,b\n1,"2\n', {}, r"rows\.csv cannot be read"),
    "an unknown column": ("a,b\n1,2\n", {"columns": {"x": "c"}}, "no column 'c'.*a and b"),
    "an unknown role": ("a,b\n1,2\n", {"columns": {"txt": "a"}}, "'txt', which is no input. Did"),
    "two columns for a text": ("a,b\n1,2\n", {"columns": {"text": ["a", "b"]}}, "takes one"),
}


@pytest.mark.parametrize(("text", "options", "message"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_bad_table_is_refused_by_file_and_line(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
):
    with pytest.raises(DataError, match=message):
        csv(tmp_path, text, **options)


BAD_JSONL = {
    "no JSON": (['{"x": 1}', "{x: 1}"], r"rows\.jsonl, line 2 is no JSON"),
    "no object": (['{"x": 1}', "[1]"], "line 2 is a JSON list"),
    "a missing key": (['{"x": 1}', '{"y": 1}'], "line 2: there is no 'x'"),
    "another size": (['{"x": [1]}', '{"x": [1, 2]}'], r"line 2: 'x' has shape \[2\], and \[1\]"),
    "text for a number": (['{"x": "one"}'], "line 1: 'x' is 'one'"),
    "a ragged list": (['{"x": [[1], [1, 2]]}'], "line 1: 'x' is"),
}


@pytest.mark.parametrize(("lines", "message"), BAD_JSONL.values(), ids=BAD_JSONL)
def test_a_bad_line_is_refused_by_its_number(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(DataError, match=message):
        jsonl(tmp_path, *lines)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    for key in ("csv", "jsonl"):
        (tmp_path / "rows").write_bytes(b"\xff\xfe\x00")
        source = DATA_SOURCES[key].model_validate({key: "rows"})
        with pytest.raises(DataError, match="rows cannot be read"):
            list(source.batches(tmp_path, ("x",), PLACE))


def test_text_needs_a_model_that_reads_it(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": 0}')
    source = DATA_SOURCES["jsonl"].model_validate({"jsonl": "rows.jsonl"})
    with pytest.raises(DataError, match=r"'text' holds values of type str.*'huggingface'"):
        read_split(source, "holdout", (X,), tmp_path, tmp_path / "snapshot", LIMITS)


def test_a_missing_file_is_seen_before_anything_is_read(tmp_path: Path):
    for key in ("csv", "jsonl"):
        source = DATA_SOURCES[key].model_validate({key: f"absent.{key}"})
        assert [key] == [place for place, _ in source.problems(tmp_path)]


RAW_FUNCTION = """\
import numpy as np

def texts():
    yield ["a b", "c"], np.array([0, 1])

def two_texts_without_targets():
    yield ["a b", "c"]

def columns():
    yield {"tokens": [["a", "b"], ["c"]], "tags": [[0, 1], [2]]}

class Rows:
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return {"text": "abc"[i], "label": i}
"""


def test_data_functions_may_yield_raw_columns(project_dir):
    directory = project_dir(files={"raw.py": RAW_FUNCTION})

    def of(name: str) -> Batch:
        source = DATA_SOURCES["function"].model_validate({"function": f"raw:{name}"})
        (batch,) = source.batches(directory, ("input_ids", "attention_mask"), PLACE)
        return batch

    assert of("texts").inputs == {"text": ["a b", "c"]}
    assert of("texts").target.tolist() == [0, 1]
    assert of("two_texts_without_targets") == Batch({"text": ["a b", "c"]}, None)
    assert of("columns").inputs == {"tokens": [["a", "b"], ["c"]], "tags": [[0, 1], [2]]}
    assert of("Rows").inputs == {"text": ["a", "b", "c"], "label": [0, 1, 2]}

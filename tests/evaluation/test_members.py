"""The user's slices and groups: what they may return, and what is said of the rest."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt.errors import ConfigError, DataError
from mlopt.evaluation.members import Members, check_leak
from mlopt.store.snapshot import Snapshot, SnapshotWriter

N = 12
_numbers = itertools.count()
Called = Callable[[str], Members]


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Called]:
    """Runs a body as the slice ``dark``, or where it begins with ``groups:`` as the groups."""
    with SnapshotWriter(tmp_path / "split") as writer:
        writer.append({"x": np.arange(N)}, np.arange(N) % 3)
        writer.finish()

    def members(body: str) -> Members:
        module = f"members_{next(_numbers)}"
        text = body.removeprefix("groups:")
        (tmp_path / f"{module}.py").write_text(
            f"import numpy as np\n\ndef f(inputs, targets):\n    {text}\n"
        )
        reference = f"{module}:f"
        as_groups = text != body
        return Members.of(
            Snapshot(tmp_path / "split"),
            "selection",
            {} if as_groups else {"dark": reference},
            reference if as_groups else None,
            tmp_path,
        )

    path = list(sys.path)
    yield members
    sys.path[:] = path


def test_a_mask_is_made_from_inputs_and_targets(call: Called) -> None:
    mask = call("return (inputs['x'] > 4) & (targets == 0)").slices["dark"]
    assert mask.nonzero()[0].tolist() == [6, 9]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return inputs['x'] % 2",
            r"returned int64 of shape \[12\].*one boolean for each of the 12",
        ),
        ("return (inputs['x'] > 3)[:5]", r"returned bool of shape \[5\]"),
        ("return (inputs['x'] > 3)[:, None]", r"returned bool of shape \[12, 1\]"),
        ("return np.zeros(len(targets), bool)", "marks none of the 12 examples of data.selection"),
        ("return inputs['y'] > 0", "raised KeyError.*line 4.*must take"),
        ("return None", "returned object"),
        ("inputs['x'][:] = 0", "raised ValueError.*read-only"),
    ],
)
def test_a_bad_mask_is_an_error_that_names_the_slice(call: Called, body: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"slices \(dark\): '.*:f' {message}"):
        call(body)


@pytest.mark.parametrize(
    "body",
    ["inputs['x'] // 4", "[f'clip {x // 4}' for x in inputs['x']]",
     "np.array(['a', 'b', 'c'], object)[inputs['x'] // 4]"],
)  # fmt: skip
def test_labels_are_integers_or_text(call: Called, body: str) -> None:
    groups = call(f"groups:return {body}").groups
    assert groups is not None
    assert groups.tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return inputs['x'] / 2", "returned float64"),
        ("return inputs['x'][:5]", r"returned int64 of shape \[5\]"),
        ("return [None] * 12", "returned object"),
        ("return 1 / 0", "raised ZeroDivisionError"),
    ],
)
def test_bad_labels_are_an_error(call: Called, body: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"groups: '.*:f' {message}"):
        call(f"groups:{body}")


def test_what_was_found_can_be_read_again(call: Called, tmp_path: Path) -> None:
    members = call("return inputs['x'] > 4")._replace(groups=np.arange(N) // 3)
    members.write(tmp_path / "members.npz")
    again = Members.read(tmp_path / "members.npz")
    assert list(again.slices) == ["dark"]
    assert again.slices["dark"].tolist() == members.slices["dark"].tolist()
    assert again.groups is not None
    assert again.groups.tolist() == (np.arange(N) // 3).tolist()


def test_a_stored_file_is_read_in_place_of_calling(run: Callable[..., Any], tmp_path: Path) -> None:
    module = f"members_{next(_numbers)}"
    calls = tmp_path / "calls"
    (tmp_path / f"{module}.py").write_text(
        "def low(inputs, targets):\n"
        f"    open({str(calls)!r}, 'a').write('.')\n"
        "    return inputs['x'] < 5\n"
    )
    request = {
        "name": "accuracy", "function": None, "higher_is_better": True, "max_drop": None,
        "relative": False,
    }  # fmt: skip
    arguments = {
        "slices": {"low": f"{module}:low"},
        "members": tmp_path / "kept.npz",
        "fp32": np.eye(3),
        "int8": np.eye(3)[::-1],
    }
    first = run(np.arange(3), request, **arguments)
    again = run(np.arange(3), request, **arguments)
    assert calls.read_text() == "."
    assert first.slices("int8") == again.slices("int8")
    assert "low" in [part.name for part in again.slices("int8")]


def test_a_group_in_two_splits_is_a_leak() -> None:
    labels = {"calibration": np.array([1, 2]), "training": np.array([2, 3])}
    check_leak(labels, frozenset({frozenset(labels)}))
    labels |= {"selection": np.array([4, 5]), "holdout": np.array([6])}
    check_leak(labels, frozenset({frozenset({"calibration", "training"})}))
    labels["holdout"] = np.array([6, 5, 5])
    with pytest.raises(
        DataError, match=r"data\.selection and data\.holdout share 1 groups, such as 5"
    ):
        check_leak(labels, frozenset({frozenset({"calibration", "training"})}))

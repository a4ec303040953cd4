"""Whether two models can stand side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlopt.errors import ConfigError
from mlopt.machine import usable_cpus
from mlopt.pipeline.admission import refuse_batch, runner_warnings, setting_warnings
from mlopt.pipeline.compare import timing_seconds
from mlopt.pipeline.reference import Entrant
from mlopt.pipeline.tasks.admit import clash
from mlopt.runners import RUNNERS
from mlopt.types.tensors import TensorSpec


def specs(**shapes: tuple[str, tuple[int | str, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec.model_validate({"name": name, "dtype": dtype, "shape": shape})
        for name, (dtype, shape) in shapes.items()
    )


X = specs(x=("float32", ("batch", 3, 32)))


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (X, None),
        (specs(x=("float32", (1, 3, 32))), None),
        (specs(x=("float32", ("batch", "channels", 32))), None),
        (specs(x=("float32", ("batch", 3, 64))), "x"),
        (specs(x=("float32", ("batch", 3))), "x"),
        (specs(x=("float16", ("batch", 3, 32))), "x"),
        (specs(y=("float32", ("batch", 3, 32))), "x"),
        ((*X, *specs(mask=("int64", ("batch", 3)))), "mask"),
    ],
)
def test_signatures_clash_where_one_batch_cannot_serve_both(
    other: tuple[TensorSpec, ...], where: str | None
) -> None:
    assert clash(X, other) == where
    assert (clash(other, X) is None) == (where is None)


def entrant(name: str = "a", **settings: Any) -> Entrant:
    return Entrant(name, None, Path("nowhere"), "onnxruntime", "cpu", settings)


def test_a_fixed_batch_must_be_the_one_that_is_timed() -> None:
    refuse_batch(entrant(), None, 8, "--batch-size")
    refuse_batch(entrant(), 8, 8, "--batch-size")
    with pytest.raises(ConfigError, match="batches of exactly 1: set --batch-size to 1"):
        refuse_batch(entrant(), 1, 8, "--batch-size")


def test_settings_that_differ_are_named() -> None:
    (warning,) = setting_warnings(
        entrant("a", graph_optimization="all"), entrant("b", graph_optimization="none")
    )
    assert "graph_optimization=all" in warning
    assert "graph_optimization=none" in warning


def test_settings_of_an_older_run_are_no_difference_where_the_new_ones_are_as_usual() -> None:
    old = {"intra_op_threads": 1, "graph_optimization": "all"}
    new = RUNNERS["onnxruntime"].model_validate(old).resolve(1).model_dump(mode="json")
    assert set(new) > set(old)
    assert setting_warnings(entrant("a", **old), entrant("b", **new)) == []
    (warning,) = setting_warnings(
        entrant("a", **old), entrant("b", **new | {"allow_spinning": False})
    )
    assert "allow_spinning=False" in warning


def test_a_difference_of_runners_is_what_is_compared_and_no_warning() -> None:
    assert setting_warnings(entrant("a"), entrant("b", x=1)._replace(runner="pytorch")) == []


def test_onnx_artifacts_by_two_runners_are_told_of_what_they_do_not_share() -> None:
    here = entrant("a", intra_op_threads=1, graph_optimization="all")
    by_itself = Entrant("b", None, Path("nowhere"), "openvino", "openvino", {"intra_op_threads": 1})
    assert setting_warnings(here, by_itself) == []
    (warning,) = setting_warnings(here, by_itself._replace(settings={"intra_op_threads": 2}))
    assert "intra_op_threads=2" in warning
    (warning,) = setting_warnings(here._replace(provider="openvino"), by_itself)
    assert "'a' runs with onnxruntime" in warning
    assert "'b' with openvino" in warning


def test_a_runner_that_is_not_the_one_that_ships_is_named() -> None:
    one = entrant("a")._replace(runner="openvino", provider="openvino", ships_with="onnxruntime")
    (warning,) = runner_warnings(one)
    assert warning.startswith(
        "'a' ships with the runner 'onnxruntime', which cannot run on openvino"
    )
    assert warning in setting_warnings(one, one)
    assert runner_warnings(entrant("a")) == []


@pytest.mark.parametrize(
    ("allowed", "spent", "left"), [(60, 4, 56), (60, 58, 10), (60, 90, 10), (12, 20, 6)]
)
def test_timing_has_what_is_left_and_never_next_to_nothing(
    allowed: float, spent: float, left: float
) -> None:
    assert timing_seconds(allowed, spent) == left


def test_more_threads_than_processors_are_named() -> None:
    many = entrant("a", intra_op_threads=usable_cpus() + 1)
    assert len(setting_warnings(many, many._replace(name="b"))) == 2
    fitting = entrant("a", intra_op_threads=usable_cpus())
    assert setting_warnings(fitting, fitting) == []

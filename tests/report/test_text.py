"""Numbers, names and tables, one by one."""

from __future__ import annotations

import pytest

from mlopt.report.facts import value_text
from mlopt.report.markdown import Table, fence
from mlopt.report.quality import errors_a_day
from mlopt.report.text import (
    change,
    code,
    drawable,
    fixed,
    interval,
    megabytes,
    prose,
    sentence,
    significant,
    speed,
)
from mlopt.types.estimate import Estimate
from mlopt.types.measurement import MetricResult
from mlopt.types.privacy import without_paths


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ((0.42, 0.40, 0.44), "0.42 (0.40 to 0.44)"),
        ((0.5121, 0.5051, 0.5191), "0.512 (0.505 to 0.519)"),
        ((37.5, 34.6, 40.4), "38 (35 to 40)"),
        ((2140, 2020, 2260), "2,140 (2,020 to 2,260)"),
        ((5.0, None, 5.1), "< 5.10 (upper bound)"),
        ((5.0, None, 5.1201), "< 5.13 (upper bound)"),
        ((0.79, None, None), "0.790"),
        ((0.0, 0.0, 0.0), "0.00 (0.00 to 0.00)"),
        ((0.66594, 0.067, 0.67), "0.67 (0.07 to 0.67)"),
        ((0.66594, 0.0000076, 2.9), "0.67 (hardly known)"),
        ((88.0, -1.2, 176.4), "88 (hardly known)"),
    ],
)
def test_the_width_of_an_interval_sets_the_decimals(
    given: tuple[float, float | None, float | None], shown: str
) -> None:
    assert interval(estimate(*given)) == shown


def test_a_plot_shows_no_ends_that_would_fill_it() -> None:
    assert drawable(estimate(0.67, 1e-6, 2.9)) == estimate(0.67, None, None)
    assert drawable(estimate(0.67, 0.5, 0.9)) == estimate(0.67, 0.5, 0.9)


def test_a_change_has_signs_but_a_zero_has_none() -> None:
    assert change(estimate(-0.111, -0.631, 0.333)) == "-0.11 (-0.63 to +0.33)"
    assert fixed(-0.0001, 2, signed=True) == "0.00"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.38, "2.6x faster"),
        (0.05, "20x faster"),
        (0.97, "1.03x faster"),
        (1.3, "1.3x slower"),
        (1.001, "as fast"),
    ],
)
def test_a_ratio_is_said_in_words(ratio: float, words: str) -> None:
    assert speed(ratio) == words


def test_a_megabyte_is_a_million_bytes() -> None:
    assert megabytes(790_000) == "0.790 MB"
    assert significant(1234.5) == "1,234"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("in /home/ci/x/train.py, line 3", "in …/train.py, line 3"),
        (r"C:\Users\me\model.onnx is gone", "…/model.onnx is gone"),
        ("file:///tmp/a/b.so", "…/b.so"),
        ("node /blocks.0/attn/MatMul", "node /blocks.0/attn/MatMul"),
        ("see https://example.org/usr/share", "see https://example.org/usr/share"),
        ("3/4 of src/model.py", "3/4 of src/model.py"),
    ],
)
def test_absolute_paths_are_shortened_and_nothing_else(text: str, shown: str) -> None:
    assert without_paths(text) == shown


def test_markup_in_foreign_text_is_escaped() -> None:
    assert prose("a <b>*bold*</b> [x]\n p < 5") == r"a &lt;b>\*bold\*&lt;/b> \[x\] p < 5"
    assert code("a`b") == "`` a`b ``"
    assert sentence("fp16 was left out") == "fp16 was left out."
    assert sentence("other programs ran") == "Other programs ran."


def test_a_code_block_cannot_be_ended_from_inside() -> None:
    assert fence("```") == "````text\n```\n````"


def test_a_wide_table_is_written_without_padding() -> None:
    wide = Table(("name", "value"), (("x" * 100, "1"), ("y", "z" * 30)))
    assert "| y   | " + "z" * 30 + " |" in str(wide)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "yes"),
        (None, "none"),
        (2.4e-7, "2.4e-07"),
        (272_474, "272,474"),
        ({"Conv": 19, "Relu": 7}, "Conv 19, Relu 7"),
        (list(range(9)), "0, 1, 2, 3, 4, 5 and 3 more"),
        ((), "none"),
    ],
)
def test_a_fact_is_short_enough_for_a_sentence(value: object, shown: str) -> None:
    assert value_text(value) == shown


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (
            (-0.0011, -0.0063, 0.0033),
            "1,100 more errors a day (95% interval: 3,300 fewer to 6,300 more)",
        ),
        ((-0.0012, -0.0021, -0.0003), "1,200 more errors a day (95% interval: 300 to 2,100 more)"),
        ((0.02, 0.01, 0.03), "20,000 fewer errors a day (95% interval: 10,000 to 30,000 fewer)"),
        ((0.0, -0.004, 0.004), "as many errors a day (95% interval: 4,000 fewer to 4,000 more)"),
    ],
)
def test_a_loss_of_accuracy_is_counted_in_errors_a_day(
    delta: tuple[float, float, float], words: str
) -> None:
    result = MetricResult(
        name="accuracy",
        split="holdout",
        examples=900,
        value=0.9,
        baseline_value=0.9,
        delta=estimate(*delta),
        higher_is_better=True,
        max_drop=None,
        method="",
        gained=1,
        lost=2,
    )
    assert errors_a_day(result, 1_000_000) == f"at 1,000,000 predictions a day: {words}"

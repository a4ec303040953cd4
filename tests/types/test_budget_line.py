"""Budget lines: how they may be written, and what they say back."""

from __future__ import annotations

import pytest

from mlopt.errors import ConfigError
from mlopt.types.budget import BudgetLine, format_quantity, p99_limit_ms


@pytest.mark.parametrize(
    ("text", "quantity", "limit", "workload"),
    [
        ("p99 <= 5 ms", "p99_ms", 5, "batch-1"),
        ("p99 < 5ms", "p99_ms", 5, "batch-1"),
        ("p99_ms <= 5", "p99_ms", 5, "batch-1"),
        ("p99_ms <= 5 s", "p99_ms", 5000, "batch-1"),
        ("  P50  <=  1.5e1  ms ", "p50_ms", 15, "batch-1"),
        ("p90 <= 250 us", "p90_ms", 0.25, "batch-1"),
        ("p90 <= 250 \u00b5s", "p90_ms", 0.25, "batch-1"),
        ("p90 <= 250 \u03bcs", "p90_ms", 0.25, "batch-1"),
        ("mean <= 2 s", "mean_ms", 2000, "batch-1"),
        ("p99 <= 20 ms @ batch-8", "p99_ms", 20, "batch-8"),
        ("p99 <= 20 ms @batch-8", "p99_ms", 20, "batch-8"),
        ("cold_start <= 0.3 s", "cold_start_ms", 300, "batch-1"),
        ("cold start <= 300 ms", "cold_start_ms", 300, "batch-1"),
        ("cold_start_ms <= 300", "cold_start_ms", 300, "batch-1"),
        ("size <= 10 MB", "size_bytes", 10_000_000, "batch-1"),
        ("size <= 10 mib", "size_bytes", 10_485_760, "batch-1"),
        ("size <= 64 KiB", "size_bytes", 65_536, "batch-1"),
        ("size <= 64 kB", "size_bytes", 64_000, "batch-1"),
        ("size_bytes <= 1000", "size_bytes", 1000, "batch-1"),
        ("rss <= 1.5 GB", "rss_bytes", 1_500_000_000, "batch-1"),
        ("rss <= 1 GiB", "rss_bytes", 2**30, "batch-1"),
        ("size <= 12 b", "size_bytes", 12, "batch-1"),
        ("throughput >= 200 /s", "throughput_per_s", 200, "batch-1"),
        ("throughput > 200/s", "throughput_per_s", 200, "batch-1"),
        ("throughput >= 1.5e3 qps", "throughput_per_s", 1500, "batch-1"),
        ("Throughput >= 200 QPS", "throughput_per_s", 200, "batch-1"),
        ("throughput >= 200 per_s", "throughput_per_s", 200, "batch-1"),
        ("throughput_per_s >= 200", "throughput_per_s", 200, "batch-1"),
        ("throughput >= 20 /s @ batch-8", "throughput_per_s", 20, "batch-8"),
    ],
)
def test_reads_a_line(text: str, quantity: str, limit: float, workload: str) -> None:
    line = BudgetLine.parse(text)
    assert line.quantity == quantity
    assert line.limit == pytest.approx(limit, rel=1e-12)
    assert line.workload == workload
    assert BudgetLine.model_validate(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "p99 <= 5 ms",
        "p50 <= 12.345 ms",
        "p90 <= 37 us",
        "mean <= 1234.5 ms",
        "p99 <= 20 ms @ batch-8",
        "cold_start <= 300 ms",
        "size <= 10 MB",
        "size <= 1.005 MB",
        "size <= 64 KiB",
        "size <= 999 B",
        "rss <= 1.5 GiB",
        "throughput >= 200 /s",
        "throughput >= 123456.5 /s @ batch-8",
        "throughput >= 0.25 /s",
    ],
)
def test_a_line_written_out_reads_as_the_same_contract(text: str) -> None:
    line = BudgetLine.parse(text)
    assert BudgetLine.parse(str(line)) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p99<5ms", "p99 <= 5 ms"),
        ("p99 <= 20 ms @ batch-1", "p99 <= 20 ms"),
        ("p99 <= 20 ms @ batch-8", "p99 <= 20 ms @ batch-8"),
        ("mean <= 2500 ms", "mean <= 2.5 s"),
        ("cold_start <= 300 ms", "cold start <= 300 ms"),
        ("size <= 12500000 b", "size <= 12.5 MB"),
        ("throughput_per_s>200", "throughput >= 200 /s"),
        ("throughput >= 20 qps @ batch-8", "throughput >= 20 /s @ batch-8"),
    ],
)
def test_a_line_is_shown_in_units_that_read_well(text: str, shown: str) -> None:
    assert str(BudgetLine.parse(text)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the budget line"),
        ("p99", "Write it as 'p99 <= 5 ms'"),
        ("5 ms >= p99", "cannot read the budget line"),
        ("p98 <= 5 ms", r"'p98' is no quantity of a budget. Did you mean 'p9\d'\?"),
        ("speed <= 5 ms", "Known: cold_start, mean, p50, p90, p99, rss, size and throughput"),
        ("throughput <= 200 /s", "a throughput has a lower limit: write '>' or '>='"),
        ("throughput == 200 /s", "a throughput has a lower limit"),
        ("size >= 5 MB", "a budget is an upper limit"),
        ("throughput >= 200", "no unit; throughput is given in /s, per_s, qps"),
        ("throughput >= 200 ms", "the unit 'ms'; throughput is given in"),
        ("throughput >= 0 /s", "the limit must be positive"),
        ("p99 >= 5 ms", "a budget is an upper limit"),
        ("p99 == 5 ms", "a budget is an upper limit"),
        ("p99 <= 5", "no unit; p99 is given in us, µs, ms, s"),
        ("p99 <= 5 MB", "the unit 'MB'; p99 is given in"),
        ("size <= 5 ms", "the unit 'ms'; size is given in b, kb"),
        ("p99 <= 1.2.3 ms", "'1.2.3' is not a number"),
        ("p99 <= 0 ms", "the limit must be positive"),
        ("p99 <= -5 ms", "the limit must be positive"),
        ("p99 <= 1e999 ms", "the limit must be positive"),
        ("size <= 5 MB @ batch-8", "size does not depend on the workload"),
    ],
)
def test_refuses_a_line_and_says_how_to_write_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BudgetLine.parse(text)


@pytest.mark.parametrize(
    ("text", "is_latency"),
    [("p50 <= 5 ms", True), ("mean <= 5 ms", True), ("rss <= 5 MB", False)],
)
def test_only_latencies_depend_on_the_workload(text: str, is_latency: bool) -> None:
    assert BudgetLine.parse(text).is_latency is is_latency


def test_a_throughput_is_the_one_lower_limit() -> None:
    lines = [BudgetLine.parse(x) for x in ("p99 <= 5 ms", "rss <= 5 MB", "throughput >= 5 /s")]
    assert [line.is_throughput for line in lines] == [False, False, True]
    assert not lines[2].is_latency


def test_a_throughput_keeps_the_tightest_p99_of_its_workload() -> None:
    texts = ("p99 <= 9 ms", "p99 <= 7 ms", "p50 <= 1 ms", "p99 <= 20 ms @ batch-8")
    budget = [BudgetLine.parse(text) for text in texts]
    assert [p99_limit_ms(budget, f"batch-{n}") for n in (1, 8, 4)] == [7, 20, None]


def test_cold_start_is_no_latency_under_a_workload() -> None:
    assert not BudgetLine.parse("cold_start <= 5 ms").is_latency


@pytest.mark.parametrize(
    ("quantity", "value", "shown"),
    [
        ("p99_ms", 0.1234, "0.123 ms"),
        ("p99_ms", 1234.0, "1.23 s"),
        ("size_bytes", 999, "999 B"),
        ("size_bytes", 12_345, "12.3 kB"),
        ("size_bytes", 12_345_678, "12.3 MB"),
        ("rss_bytes", 2_500_000_000, "2.5 GB"),
        ("throughput_per_s", 12.345, "12.3 /s"),
        ("throughput_per_s", 123_456.7, "123457 /s"),
    ],
)
def test_observed_quantities_are_shown_with_three_digits(
    quantity: str, value: float, shown: str
) -> None:
    assert format_quantity(quantity, value) == shown

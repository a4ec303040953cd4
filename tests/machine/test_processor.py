"""The processor's flags that decide which kernels run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cpuinfo
import pytest

from mlopt.machine.processor import KERNEL_FLAGS, Processor, has_vnni, read_processor


@pytest.fixture(autouse=True)
def _forget_the_processor() -> Iterator[None]:
    read_processor.cache_clear()
    yield
    read_processor.cache_clear()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2", "avx512_vnni"}, True),
        ({"avx2", "avx_vnni"}, True),
        ({"amx_int8", "avx512f"}, True),
        ({"avx2", "avx512f", "avx512bw", "amx_tile", "amx_bf16"}, False),
        (set(), False),
    ],
)
def test_vnni_is_an_8_bit_dot_product_in_32_bits(flags: set[str], expected: bool) -> None:
    assert has_vnni(frozenset(flags)) is expected
    assert Processor("a processor", "x86_64", frozenset(flags)).has_vnni is expected


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("x86_64", True), ("AMD64", True), ("arm64", False), ("aarch64", False)],
)
def test_x86_has_two_names(architecture: str, expected: bool) -> None:
    assert Processor("a processor", architecture, frozenset()).is_x86 is expected


def test_flags_get_the_names_that_linux_gives_them_and_others_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[str, Any] = {
        "brand_raw": "a processor",
        "flags": ["avx2", "avx512vnni", "avxvnni", "sse4.1", "fpu", "hypervisor"],
    }
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: found)
    processor = read_processor()
    assert processor.flags == {"avx2", "avx512_vnni", "avx_vnni", "sse4_1"}
    assert processor.model == "a processor"


def test_a_processor_that_says_nothing_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpuinfo, "get_cpu_info", dict)
    monkeypatch.setattr("mlopt.machine.processor.platform.processor", lambda: "")
    assert read_processor().model == "unknown processor"
    assert read_processor().flags == frozenset()


def test_the_processor_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: reads.append(1) or {})
    read_processor()
    read_processor()
    assert reads == [1]


def test_this_machine_has_a_processor() -> None:
    processor = read_processor()
    assert processor.model
    assert processor.architecture
    assert processor.flags <= KERNEL_FLAGS

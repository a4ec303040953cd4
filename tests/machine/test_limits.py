"""How much of the machine may be used, read from made-up cgroup trees."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlopt.machine.limits import cpu_quota, usable_cpus, usable_memory_bytes

Tree = Callable[[dict[str, str]], Path]
GB = 10**9


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.fixture
def eight_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=8 * GB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)


def v1(quota: str, period: str) -> dict[str, str]:
    return {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        pytest.param({"cpu.max": "200000 100000\n"}, 2.0, id="v2"),
        pytest.param({"cpu.max": "150000 100000\n"}, 1.5, id="v2, a fraction"),
        pytest.param({"cpu.max": "50000 100000\n"}, 0.5, id="v2, half a processor"),
        pytest.param({"cpu.max": "max 100000\n"}, None, id="v2, no limit"),
        pytest.param(v1("400000\n", "100000\n"), 4.0, id="v1"),
        pytest.param(v1("-1\n", "100000\n"), None, id="v1, no limit"),
        pytest.param({"cpu/cpu.cfs_quota_us": "400000"}, None, id="v1, without a period"),
        pytest.param({}, None, id="no cgroup"),
        pytest.param({"cpu.max": ""}, None, id="empty"),
    ],
)
def test_reads_the_quota(tree: Tree, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(tree(files)) == quota


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("max", 8), ("200000", 2), ("150000", 2), ("20000", 1), ("6400000", 8)],
)
@pytest.mark.usefixtures("eight_cpus")
def test_the_affinity_mask_is_capped_by_the_quota_rounded_up(
    tree: Tree, quota: str, cpus: int
) -> None:
    assert usable_cpus(tree({"cpu.max": f"{quota} 100000"})) == cpus


def test_without_an_affinity_mask_all_processors_count(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cpus(tree({})) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus(tree({})) == 1


def v2_memory(limit: str, used: str, **statistics: int) -> dict[str, str]:
    stat = "".join(f"{name} {value}\n" for name, value in statistics.items())
    return {"memory.max": limit, "memory.current": used, "memory.stat": stat}


def v1_memory(limit: str, used: str, **statistics: int) -> dict[str, str]:
    stat = "".join(f"{name} {value}\n" for name, value in statistics.items())
    return {
        "memory/memory.limit_in_bytes": limit,
        "memory/memory.usage_in_bytes": used,
        "memory/memory.stat": stat,
    }


@pytest.mark.parametrize(
    ("files", "left"),
    [
        pytest.param({}, 8 * GB, id="no cgroup"),
        pytest.param(v2_memory("max\n", f"{GB}\n"), 8 * GB, id="v2, no limit"),
        pytest.param(v2_memory(f"{4 * GB}\n", f"{GB}\n"), 3 * GB, id="v2"),
        pytest.param(v2_memory(f"{64 * GB}", f"{GB}"), 8 * GB, id="v2, more than there is"),
        pytest.param(v2_memory(f"{GB}", f"{2 * GB}"), 0, id="v2, over its limit"),
        pytest.param(v1_memory(f"{4 * GB}", f"{3 * GB}"), GB, id="v1"),
        pytest.param(v1_memory("9223372036854771712", f"{GB}"), 8 * GB, id="v1, no limit"),
    ],
)
@pytest.mark.usefixtures("eight_gb")
def test_memory_is_what_is_available_capped_by_what_the_cgroup_has_left(
    tree: Tree, files: dict[str, str], left: int
) -> None:
    assert usable_memory_bytes(tree(files)) == left


@pytest.mark.parametrize(
    "files",
    [
        v2_memory(f"{4 * GB}", f"{3 * GB}", anon=GB, inactive_file=2 * GB),
        v1_memory(f"{4 * GB}", f"{3 * GB}", inactive_file=5, total_inactive_file=2 * GB),
    ],
    ids=["v2", "v1"],
)
@pytest.mark.usefixtures("eight_gb")
def test_cached_files_that_nobody_uses_do_not_count_as_taken(
    tree: Tree, files: dict[str, str]
) -> None:
    assert usable_memory_bytes(tree(files)) == 3 * GB

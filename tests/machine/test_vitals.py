"""Counters of the machine, read from made-up /proc, /sys and cgroup trees."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlopt.machine.frequency import governor, max_mhz, simultaneous_multithreading
from mlopt.machine.own_usage import involuntary_switches
from mlopt.machine.vitals import read_vitals
from mlopt.types.measurement import LaunchVitals, Vitals

Tree = Callable[[dict[str, str]], Path]

#                    user nice system idle iowait irq softirq steal guest guest_nice
STAT = """cpu  9999 9999 9999 9999 9999 9999 9999 9999 9999 9999
cpu0 1000 100 200 5000 300 10 20 70 500 5
cpu1 2000 200 400 6000 400 30 40 30 0 0
cpu2 9000 0 0 0 0 0 0 0 0 0
intr 12345 0 0
ctxt 777
"""

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu MHz\t\t: 800.000
cache size\t: 512 KB

processor\t: 1
vendor_id\t: GenuineIntel
cpu MHz\t\t: 3100.500

processor\t: 2
cpu MHz\t\t: 4900.000
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


@pytest.fixture(autouse=True)
def _two_of_three_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 100, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


def read(tree: Path) -> Vitals:
    return read_vitals(tree / "proc", tree / "cgroup", tree / "cpus")


def test_processor_time_is_that_of_the_usable_processors_and_guests_count_once(tree: Tree) -> None:
    found = read(tree({"proc/stat": STAT}))
    assert found.total_s == pytest.approx((6700 + 9100) / 100)
    assert found.busy_s == pytest.approx((1330 + 2670) / 100)
    assert found.steal_s == pytest.approx(1.0)


def test_an_old_kernel_counts_no_steal(tree: Tree) -> None:
    found = read(tree({"proc/stat": "cpu0 100 0 0 300\n"}))
    assert (found.total_s, found.busy_s, found.steal_s) == (4.0, 1.0, 0.0)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            {"cgroup/cpu.stat": "usage_usec 9\nnr_periods 50\nnr_throttled 5\nthrottled_usec 2500000\n"},
            id="v2",
        ),
        pytest.param(
            {"cgroup/cpu/cpu.stat": "nr_periods 50\nnr_throttled 5\nthrottled_time 2500000000\n"},
            id="v1",
        ),
    ],
)  # fmt: skip
def test_reads_what_the_quota_did(tree: Tree, files: dict[str, str]) -> None:
    found = read(tree(files))
    assert (found.periods, found.throttled_periods, found.throttled_s) == (50, 5, 2.5)


def test_a_cgroup_without_a_quota_is_not_one_that_was_never_throttled(tree: Tree) -> None:
    found = read(tree({"cgroup/cpu.stat": "usage_usec 9\nuser_usec 5\n"}))
    assert (found.periods, found.throttled_periods, found.throttled_s) == (None, None, None)


def test_the_clock_is_that_of_the_fastest_usable_processor(tree: Tree) -> None:
    assert read(tree({"proc/cpuinfo": CPUINFO})).mhz == 3100.5
    files = {f"cpus/cpu{i}/cpufreq/scaling_cur_freq": f"{khz}\n" for i, khz in
             enumerate((1_200_000, 2_400_000, 4_000_000))}  # fmt: skip
    assert read(tree(files)).mhz == 2400.0


def test_what_cannot_be_read_is_none(tree: Tree) -> None:
    found = read(tree({}))
    assert found.model_dump(exclude={"clock_s", "own_s"}) == dict.fromkeys(
        set(Vitals.model_fields) - {"clock_s", "own_s"}
    )


def test_own_time_is_that_of_this_process_and_of_all_below_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = [
        SimpleNamespace(cpu_times=lambda: SimpleNamespace(
            user=3.0, system=1.0, children_user=0.5, children_system=0.25)),
        SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=2.0, system=1.0)),
    ]  # fmt: skip
    ended = SimpleNamespace(user=10.0, system=5.0, children_user=2.0, children_system=1.0)
    monkeypatch.setattr(os, "times", lambda: ended)
    monkeypatch.setattr("psutil.Process.children", lambda self, recursive: below)
    assert read(tree({})).own_s == pytest.approx(18 + 4.75 + 3)


def test_elsewhere_psutil_tells_a_part(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    from psutil._ntuples import scputimes

    values = dict.fromkeys(scputimes._fields, 0.0) | {"user": 30.0, "system": 10.0, "idle": 60.0}
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("psutil.cpu_times", lambda: scputimes(**values))
    monkeypatch.setattr("psutil.cpu_freq", lambda: SimpleNamespace(current=3200.0))
    found = read(tree({}))
    assert (found.total_s, found.busy_s, found.steal_s, found.mhz) == (100.0, 40.0, None, 3200.0)


def test_vitals_survive_json(tree: Tree) -> None:
    one = read(tree({"proc/stat": STAT, "proc/cpuinfo": CPUINFO}))
    launch = LaunchVitals(before=one, after=one)
    assert LaunchVitals.model_validate_json(launch.model_dump_json()) == launch


def test_involuntary_switches_are_counted_and_never_fewer() -> None:
    first = involuntary_switches()
    assert first >= 0
    assert involuntary_switches() >= first


def test_without_resource_usage_switches_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert involuntary_switches() == -1


def test_what_decides_about_the_frequency_is_read(tree: Tree) -> None:
    cpus = tree(
        {
            "cpu0/cpufreq/scaling_governor": "powersave\n",
            "cpu0/cpufreq/cpuinfo_max_freq": "3500000\n",
            "cpu1/cpufreq/cpuinfo_max_freq": "4200000\n",
            "smt/active": "1\n",
        }
    )
    assert governor(cpus) == "powersave"
    assert max_mhz(cpus) == 4200.0
    assert simultaneous_multithreading(cpus) is True


def test_a_virtual_machine_tells_nothing_about_the_frequency(tree: Tree) -> None:
    cpus = tree({"online": "0-1\n"})
    assert (governor(cpus), max_mhz(cpus), simultaneous_multithreading(cpus)) == (None, None, None)

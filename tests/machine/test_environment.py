"""The fingerprint in every run: what the machine is, not whose."""

from __future__ import annotations

import getpass
import platform
from importlib.metadata import version

import pytest

from mlopt.machine import Processor
from mlopt.machine.environment import describe_environment, library_versions
from mlopt.types.run import Environment

HOST, USER = "secret-build-host-17", "secretuser42"


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Processor("a processor", "x86_64", frozenset({"fma", "avx2"}))
    monkeypatch.setattr("mlopt.machine.environment.read_processor", lambda: processor)
    monkeypatch.setattr("mlopt.machine.environment.usable_cpus", lambda: 2)
    monkeypatch.setattr("mlopt.machine.environment.usable_memory_bytes", lambda: 4_000_000_000)
    monkeypatch.setattr("psutil.cpu_count", lambda: 64)
    monkeypatch.setattr("mlopt.machine.environment.cpu_quota", lambda: 1.5)
    monkeypatch.setattr("mlopt.machine.environment.governor", lambda: "powersave")
    monkeypatch.setattr("mlopt.machine.environment.max_mhz", lambda: 3500.0)
    monkeypatch.setattr("mlopt.machine.environment.simultaneous_multithreading", lambda: True)


def test_describes_processor_limits_and_versions() -> None:
    found = describe_environment(("CPUExecutionProvider",))
    assert (found.cpu, found.architecture) == ("a processor", "x86_64")
    assert found.cpu_flags == ("avx2", "fma")
    assert (found.cpus, found.cpus_on_host, found.memory_bytes) == (2, 64, 4_000_000_000)
    assert found.python == platform.python_version()
    assert found.providers == ("CPUExecutionProvider",)
    assert found.libraries["numpy"] == version("numpy")
    assert found.cpu_quota == 1.5


def test_describes_what_decides_about_the_speed_and_what_the_runtime_was_built_from() -> None:
    found = describe_environment((), {"onnxruntime": "6af1a93 Release"})
    assert found.frequency == "governor powersave, at most 3,500 MHz, two threads share a core"
    assert found.builds == {"onnxruntime": "6af1a93 Release"}


def test_an_environment_of_an_older_run_has_no_frequency() -> None:
    new = {"cpu_quota", "governor", "max_mhz", "simultaneous_multithreading", "builds"}
    old = Environment.model_validate(describe_environment(()).model_dump(exclude=new))
    assert (old.frequency, old.cpu_quota, old.builds) == (None, None, {})


def test_holds_no_host_name_user_name_or_path(monkeypatch: pytest.MonkeyPatch) -> None:
    uname = platform.uname()._replace(node=HOST)
    monkeypatch.setattr(platform, "uname", lambda: uname)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    monkeypatch.setattr("socket.gethostname", lambda: HOST)
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    for variable in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(variable, USER)
    monkeypatch.setenv("HOME", f"/home/{USER}")
    text = describe_environment(()).model_dump_json()
    assert HOST not in text
    assert USER not in text
    assert "/" not in text


def test_libraries_that_are_not_installed_are_left_out() -> None:
    assert library_versions(("numpy", "no-such-library")) == {"numpy": version("numpy")}

"""The fingerprint in every run: what the machine is, not whose."""

from __future__ import annotations

import getpass
import platform
from importlib.metadata import version

import pytest

from mlopt.machine import Processor, describe_environment
from mlopt.machine.environment import library_versions

HOST, USER = "secret-build-host-17", "secretuser42"


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Processor("a processor", "x86_64", frozenset({"fma", "avx2"}))
    monkeypatch.setattr("mlopt.machine.environment.read_processor", lambda: processor)
    monkeypatch.setattr("mlopt.machine.environment.usable_cpus", lambda: 2)
    monkeypatch.setattr("mlopt.machine.environment.usable_memory_bytes", lambda: 4_000_000_000)
    monkeypatch.setattr("psutil.cpu_count", lambda: 64)


def test_describes_processor_limits_and_versions() -> None:
    found = describe_environment(("CPUExecutionProvider",))
    assert (found.cpu, found.architecture) == ("a processor", "x86_64")
    assert found.cpu_flags == ("avx2", "fma")
    assert (found.cpus, found.cpus_on_host, found.memory_bytes) == (2, 64, 4_000_000_000)
    assert found.python == platform.python_version()
    assert found.providers == ("CPUExecutionProvider",)
    assert found.libraries["numpy"] == version("numpy")


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

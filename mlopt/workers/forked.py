"""The parent's side of the fork server: workers that begin with everything imported.

Importing PyTorch and its exporter takes a worker longer than most of what it is started for. While
:func:`fork_server` is open, workers that time nothing are forked from a process that has done it
(:mod:`mlopt.workers.serve_forks`); each is still a process of its own, with its own limits, log and end.
On Linux only, and not with a build of PyTorch for CUDA, whose driver does not survive a fork: elsewhere,
and where anything about it is amiss, workers start as they would without.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

READ_WHEN_USED = ("MLOPT_", "PYTEST_", "GITHUB_")
"""Variables with these beginnings may differ from the server's: no library reads them as it loads."""

OWN_VARIABLES = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Of the server, unless set: libgomp reads it as it loads, and workers side by side share the cores."""

READY_S = 30.0
"""What a worker waits for the server, which may be importing; then it starts without it."""

PACKET = 1 << 20
"""Bytes, the longest of a message."""

DESCRIPTORS = 4
"""That come with a request: standard input, output and error, and a socket about the worker's life."""


class NotForkedError(Exception):
    """There is no fork server, or none that would do: the worker has to be started afresh."""


class ForkedProcess:
    """What a worker needs of :class:`subprocess.Popen`, for a process that the fork server forked.

    Its number stays its own until :meth:`forget`, as that of a child that nobody has waited for.

    Attributes:
        inherited_bytes: Resident memory that it began with, which it shares with the server.
    """

    def __init__(
        self,
        pid: int,
        stdin: IO[str],
        stdout: IO[str],
        life: socket.socket,
        inherited_bytes: int,
    ) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.inherited_bytes = inherited_bytes
        self._life = life
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end and returns its exit code.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        if self._code is None:
            try:
                found = _receive(self._life, timeout)
            except TimeoutError:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0) from None
            # Where the server is dead, so is all that it had forked.
            self._code = int(found.get("code", -signal.SIGKILL))
        return self._code

    def send_signal(self, number: int) -> None:
        """Sends a signal to it alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)

    def forget(self) -> None:
        """Lets go of it; the server ends what is left of it."""
        self._life.close()


class ForkServer:
    """A running server; :func:`fork_server` keeps one for everybody."""

    def __init__(self) -> None:
        """Starts it; it begins to import at once.

        Raises:
            OSError: It cannot be started.
        """
        environment = worker_environment()
        self._read_while_loading = _read_while_loading(environment)
        self._usable = True
        self._settled = False
        self._settling = threading.Lock()
        self._control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its_control:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "mlopt.workers.serve_forks",
                    str(its_control.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**OWN_VARIABLES, **environment},
                pass_fds=[its_control.fileno()],
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )

    def fork(self, environment: Mapping[str, str], log: IO[str]) -> ForkedProcess:
        """See :func:`fork`."""
        if not self._usable or _read_while_loading(environment) != self._read_while_loading:
            raise NotForkedError
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            try:
                requests, stdin = _pipe()
                stdout, answers = _pipe()
                life, its_life = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                for one in (requests, answers, its_life):
                    theirs.enter_context(one)
                for one in (stdin, stdout, life):
                    ours.enter_context(one)
                request = {"directory": str(Path.cwd()), "environment": dict(environment)}
                passed = [one.fileno() for one in (requests, answers, log, its_life)]
                socket.send_fds(self._control, [json.dumps(request).encode()], passed)
                theirs.close()
                found = _receive(life, READY_S)
            except OSError as e:
                self._usable = False
                raise NotForkedError from e
            if "pid" not in found:
                raise NotForkedError
            ours.pop_all()
            return ForkedProcess(found["pid"], stdin, stdout, life, found["resident_bytes"])

    def settle(self) -> None:
        """Waits until it has nothing left to import."""
        with self._settling:
            if not self._settled:
                self._settled = True
                with contextlib.suppress(TimeoutError):
                    _receive(self._control, READY_S)

    def close(self) -> None:
        """Ends it, and with it whatever it has forked."""
        self._process.kill()
        self._process.wait()
        self._control.close()


_lock = threading.Lock()
_server: ForkServer | None = None
_users = 0


@contextlib.contextmanager
def fork_server() -> Iterator[None]:
    """While it is open, workers that need not be fresh are forked; it may be opened within itself.

    It begins to import at once, while the caller goes on.
    """
    global _server, _users  # noqa: PLW0603  # a process has one
    with _lock:
        if _users == 0 and can_fork():
            with contextlib.suppress(OSError):
                _server = ForkServer()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _server is not None:
                _server.close()
                _server = None


def fork(environment: Mapping[str, str], log: IO[str]) -> ForkedProcess:
    """A worker of the fork server that is open.

    Args:
        environment: All of its variables.
        log: Where its standard error goes.

    Raises:
        NotForkedError: None is open, it was started under other variables, or it is gone.
    """
    server = _server
    if server is None:
        raise NotForkedError
    return server.fork(environment, log)


def settle() -> None:
    """Waits until the fork server is idle, so that nothing of ours runs beside what is timed."""
    server = _server
    if server is not None:
        server.settle()


def can_fork() -> bool:
    """Whether this system, and the PyTorch that is installed, allow for a fork server."""
    if sys.platform != "linux":
        return False
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return False
    try:
        version = Path(torch.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^cuda\b[^=\n]*= *None *$", version, re.MULTILINE) is not None


def worker_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a worker: those of this process, one seed of hashes for all, and ``more``."""
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", **(more or {})}


def _receive(connection: socket.socket, timeout: float | None) -> dict[str, Any]:
    """A message; empty where the other side is gone.

    Raises:
        TimeoutError: There was none.
    """
    connection.settimeout(timeout)
    try:
        message = connection.recv(PACKET)
    except BlockingIOError:  # of a timeout of 0
        raise TimeoutError from None
    except ConnectionError:
        return {}
    return dict(json.loads(message)) if message else {}


def _pipe() -> tuple[IO[str], IO[str]]:
    """Its end to read from, and its end to write to."""
    reads, writes = os.pipe()
    return os.fdopen(reads, encoding="utf-8"), os.fdopen(writes, "w", encoding="utf-8")


def _read_while_loading(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if not k.startswith(READ_WHEN_USED)}

"""What runs inside the fork server: ``python -m mlopt.workers.serve_forks DESCRIPTOR``.

It imports what takes seconds, and then forks a worker for each packet on the socket ``DESCRIPTOR``:
``{"directory", "environment"}`` with four descriptors, standard input, output and error of the worker and
a socket about its life. Over that one go ``{"pid", "resident_bytes"}``, from the worker, and ``{"code"}``
once it has ended, from here; over the first ``{"settled"}``, when there is nothing left to import. The
server ends with its input, and ends what it has forked.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlopt.workers import child
from mlopt.workers.forked import DESCRIPTORS, PACKET

FIRST = "torch"
"""What is imported before anything is forked."""

LATER = (
    "mlopt.pipeline.tasks.prepare",
    "mlopt.pipeline.tasks.build",
    "onnx",
    "onnxruntime",
    "torch.onnx._internal.exporter._core",
)
"""While nobody waits; what is not installed, or has another name in another version, is left out."""


class _Forked:
    """A worker that the parent has not let go of yet, be it dead or alive."""

    def __init__(self, pid: int, life: socket.socket) -> None:
        self.pid = pid
        self.life = life
        self._told = False

    def tell_if_ended(self) -> None:
        """Its number stays taken until the parent lets go of it, who may yet send it signals."""
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None and not self._told:
            self._told = True
            code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            with contextlib.suppress(OSError):
                self.life.send(json.dumps({"code": code}).encode(), socket.MSG_DONTWAIT)

    def end(self) -> None:
        self.life.close()
        os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what it has started itself
        os.waitpid(self.pid, 0)


class _Server:
    """Forks until its parent is gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._forked: dict[int, _Forked] = {}
        self._to_import = list(LATER)

    def serve(self) -> None:
        """Returns in a forked process only; the server itself exits."""
        signal.signal(signal.SIGCHLD, self._tell_who_ended)
        while True:
            lives = {one.life.fileno(): one for one in list(self._forked.values())}
            ready, _, _ = select.select(
                [self._control.fileno(), *lives], [], [], 0 if self._to_import else None
            )
            if not ready:
                self._import_one()
            for one in (lives[number] for number in ready if number in lives):
                del self._forked[one.pid]
                one.end()
            if self._control.fileno() in ready and self._fork():
                return

    def _tell_who_ended(self, *_: object) -> None:
        # As a signal's handler, so that nobody waits for an import to end.
        for one in list(self._forked.values()):
            one.tell_if_ended()

    def _import_one(self) -> None:
        _import(self._to_import.pop(0))
        if not self._to_import:
            self._control.send(json.dumps({"settled": True}).encode())

    def _fork(self) -> bool:
        """Takes one request. Whether this is the forked process, which serves from now on."""
        message, descriptors, *_ = socket.recv_fds(self._control, PACKET, DESCRIPTORS)
        if not message:
            for one in list(self._forked.values()):
                one.end()
            sys.exit()
        pid = None
        with contextlib.suppress(OSError):  # no memory, say: the parent sees its socket closed
            pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in self._forked.values():
                one.life.close()
            self._control.close()
            _become_a_worker(json.loads(message), descriptors)
            return True
        *standard, life = descriptors
        for descriptor in standard:
            os.close(descriptor)
        if pid is None:
            os.close(life)
        else:
            self._forked[pid] = _Forked(pid, socket.socket(fileno=life))
            self._forked[pid].tell_if_ended()  # it may have, before it was known here
        return False


def main() -> None:
    """Forks until the parent is gone; in what it has forked, serves as a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import(FIRST)
    _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    code = _exit_code_of(child.main)
    sys.stderr.flush()
    os._exit(code)  # an ordinary end waits for threads of libraries that only the server has


def _exit_code_of(work: Callable[[], None]) -> int:
    """The exit code of a process that does nothing else."""
    try:
        work()
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:  # noqa: BLE001  # as an interpreter does
        traceback.print_exc()
        return 1
    return 0


def _import(name: str) -> None:
    # The worker that needs a module which cannot be imported says so.
    with contextlib.suppress(Exception):
        importlib.import_module(name)
    gc.freeze()  # what is there stays: nobody need look through it, nor copy its pages for that


def _become_a_worker(request: dict[str, Any], descriptors: list[int]) -> None:
    """What a fresh process would have found: a session of its own, its descriptors and variables."""
    os.setsid()
    *standard, life = descriptors
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if "numpy" in sys.modules:
        # Anybody's own: those of PyTorch begin with the same number in every process.
        sys.modules["numpy"].random.seed()
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    born = {
        "pid": os.getpid(),
        "resident_bytes": resident_pages * os.sysconf("SC_PAGE_SIZE"),
    }
    with socket.socket(fileno=life) as parent:
        parent.send(json.dumps(born).encode())


if __name__ == "__main__":
    main()

"""The parent's side: start a worker, call it, and hold it to its limits."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import IO, Any, NamedTuple, Self

from mlopt import errors
from mlopt.errors import MloptError, WorkerError
from mlopt.workers.forked import (
    ForkedProcess,
    NotForkedError,
    fork,
    settle,
    worker_environment,
)

POLL_S = 0.2
EXIT_S = 5.0
LOG_LINES = 15

STOP: int | None = getattr(signal, "SIGSTOP", None)
CONTINUE: int | None = getattr(signal, "SIGCONT", None)
"""None where a system has no such signals; psutil finds another way then, which takes longer."""

OnEvent = Callable[[str, float | None], None]


class Limits(NamedTuple):
    """What a worker may use.

    Attributes:
        seconds: Wall-clock time of one call; None: no limit.
        memory_bytes: Resident memory of the worker and its children, without what a forked one
            began with; None: no limit.
    """

    seconds: float | None = None
    memory_bytes: int | None = None


class Worker:
    """A worker process that serves the calls of one object, or one call of a function.

    Use it as a context manager: the process is gone when the block ends, however it ends.
    """

    def __init__(
        self,
        target: str,
        arguments: dict[str, Any],
        limits: Limits,
        on_event: OnEvent | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        *,
        fresh: bool = True,
    ) -> None:
        """Starts the process and opens ``target`` in it; :meth:`opened` waits for the answer.

        Args:
            target: ``module:function`` or ``module:Class``.
            arguments: Keyword arguments for it; JSON.
            limits: What each call may use.
            on_event: Called with what the worker emits.
            environment: Variables to set beside those of this process.
            fresh: Whether it has to be a process of which nothing has been used before, as where
                something is timed; otherwise it is forked where a fork server is open.
        """
        self._limits = limits
        self._on_event = on_event
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # closed by close
        self._process = _start(worker_environment(environment), self._log, fresh=fresh)
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._owner = threading.current_thread()
        _living.add(self)
        self._send({"open": target, "arguments": arguments})

    def opened(self, seconds: float | None = None) -> Any:
        """Waits for ``target`` to open, and returns a function's result.

        Raises:
            MloptError: As raised in the worker.
            WorkerError: It died, hung, used too much memory or raised anything else.
        """
        return self._wait(seconds)

    def call(self, method: str, arguments: dict[str, Any], seconds: float | None = None) -> Any:
        """Calls a method of the object that was opened, and waits for the answer.

        Args:
            method: Its name.
            arguments: Keyword arguments; JSON.
            seconds: A tighter time limit for this call.

        Raises:
            MloptError: As raised in the worker.
            WorkerError: It died, hung, used too much memory or raised anything else.
        """
        self._send({"call": method, "arguments": arguments})
        return self._wait(seconds)

    @property
    def log_tail(self) -> str:
        """The last lines that the process wrote."""
        if self._log.closed:
            return ""
        self._log.flush()
        self._log.seek(0)
        return "".join(self._log.readlines()[-LOG_LINES:]).strip()

    def pause(self) -> None:
        """Stops the process where it is: a thread pool that would go on spinning no longer does."""
        if STOP is not None:
            self._process.send_signal(STOP)
            return
        import psutil

        with contextlib.suppress(psutil.Error):
            psutil.Process(self._process.pid).suspend()

    def resume(self) -> None:
        """Lets a paused process go on."""
        if CONTINUE is not None:
            self._process.send_signal(CONTINUE)
            return
        import psutil

        with contextlib.suppress(psutil.Error):
            psutil.Process(self._process.pid).resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process and its children."""
        _living.discard(self)
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._kill()
        if isinstance(self._process, ForkedProcess):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_S)
            self._process.forget()
        else:
            self._process.wait()
        self._log.close()

    def _send(self, message: dict[str, Any]) -> None:
        # A dead worker shows itself in the wait that follows, with its cause.
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._answers.put(json.loads(line))
        self._answers.put(None)

    def _wait(self, seconds: float | None) -> Any:
        limit = min((s for s in (seconds, self._limits.seconds) if s is not None), default=None)
        start = time.monotonic()
        gone = False
        while True:
            try:
                answer = self._answers.get(timeout=POLL_S)
            except queue.Empty:
                # A forked child of its own may hold the pipe open after the worker's end.
                if gone:
                    raise self._died() from None
                gone = self._process.poll() is not None
                self._check_limits(start, limit)
                continue
            if answer is None:
                raise self._died()
            if "event" in answer:
                if self._on_event is not None:
                    self._on_event(answer["event"]["message"], answer["event"]["done"])
                self._check_limits(start, limit)
                continue
            if "error" in answer:
                raise self._failed(answer["error"])
            return answer["result"]

    def _check_limits(self, start: float, limit: float | None) -> None:
        if limit is not None and time.monotonic() - start > limit:
            raise self._ended(f"ran longer than its limit of {limit:.3g} s")
        most = self._limits.memory_bytes
        used = self._resident_bytes() if most is not None else 0
        if most is not None and used > most:
            raise self._ended(
                f"used {used / 1e6:.0f} MB of memory, over its limit of {most / 1e6:.0f} MB"
            )

    def _resident_bytes(self) -> int:
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += one.memory_info().rss
        if isinstance(self._process, ForkedProcess):
            return max(0, total - self._process.inherited_bytes)
        return total

    def _ended(self, cause: str) -> WorkerError:
        self._kill()
        return WorkerFailure(cause, self.log_tail)

    def _died(self) -> WorkerError:
        try:
            code = self._process.wait(timeout=EXIT_S)
        except subprocess.TimeoutExpired:
            return self._ended("closed its channel and went on running")
        if code >= 0:
            return WorkerFailure(
                f"the process ended by itself with exit code {code}", self.log_tail
            )
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            why = " (the kernel's out-of-memory killer, or somebody's kill)" if -code == 9 else ""
            return WorkerFailure(f"the process was killed by {name}{why}", self.log_tail)
        return WorkerFailure(f"the process was killed by signal {-code}", self.log_tail)

    def _failed(self, error: dict[str, Any]) -> MloptError:
        kind = getattr(errors, error["kind"] or "", None)
        if isinstance(kind, type) and issubclass(kind, MloptError):
            raised: MloptError = kind(error["message"])
            return raised
        return WorkerFailure(error["message"], self.log_tail)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()


def _start(
    environment: Mapping[str, str], log: IO[str], *, fresh: bool
) -> subprocess.Popen[str] | ForkedProcess:
    if fresh:
        settle()
    else:
        with contextlib.suppress(NotForkedError):
            return fork(environment, log)
    return subprocess.Popen(
        # -P: the current directory must not shadow anybody's modules.
        [sys.executable, "-P", "-m", "mlopt.workers.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        encoding="utf-8",
        env=environment,
        start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends its workers
    )


_living: set[Worker] = set()


def end_workers_of(thread: threading.Thread) -> None:
    """Ends the processes that a thread has started, so that it need not wait for them.

    The thread sees a worker that was killed.
    """
    for worker in tuple(_living):
        if worker._owner is thread:  # this module's own
            worker._kill()


class WorkerFailure(WorkerError):
    """A worker ended or raised something unforeseen.

    Attributes:
        log: The last lines that it wrote.
    """

    def __init__(self, cause: str, log: str) -> None:
        super().__init__(cause)
        self.log = log


def run_task(
    target: str,
    arguments: dict[str, Any],
    limits: Limits | None = None,
    on_event: OnEvent | None = None,
    *,
    fresh: bool = False,
) -> Any:
    """Runs one function in a worker of its own and returns its result.

    Args:
        target: ``module:function``.
        arguments: Keyword arguments; JSON.
        limits: What it may use; default: no limit.
        on_event: Called with what it emits.
        fresh: Whether something is timed in it; see :class:`Worker`.

    Raises:
        MloptError: As raised in the worker.
        WorkerError: It died, hung, used too much memory or raised anything else.
    """
    with Worker(target, arguments, limits or Limits(), on_event, fresh=fresh) as worker:
        return worker.opened()

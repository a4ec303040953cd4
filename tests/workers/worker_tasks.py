"""What the workers of these tests run. They import it by name, from PYTHONPATH."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

from mlopt import errors
from mlopt.workers import emit


def add(a: int, b: int) -> int:
    return a + b


def echo(value: Any) -> Any:
    return value


def where() -> dict[str, Any]:
    return {"pid": os.getpid(), "path": sys.path, "ours": os.environ.get("MLOPT_TEST")}


def begins_with() -> dict[str, Any]:
    """What there is before anything was done, and a number that nobody has seeded."""
    loaded = sorted(set(sys.modules) & {"torch", "onnx"})
    import numpy as np

    return {
        "loaded": loaded,
        "session": os.getsid(0),
        "pid": os.getpid(),
        "random": np.random.rand(),
    }


def raise_ours(kind: str, message: str) -> None:
    raise getattr(errors, kind)(message)


def raise_other(message: str) -> None:
    print("a line before the failure")
    raise LookupError(message)


def answer_with_an_object() -> object:
    return object()


def chatter(lines: int) -> str:
    for i in range(lines):
        print(f"out {i}", '{"result": "forged"}')
        print(f"err {i}", file=sys.stderr)
    os.write(1, b'{"result": "forged"}\n')
    subprocess.run(["echo", '{"result": "forged"}'], check=True)
    sys.stdout.flush()
    return "true"


def die(how: str) -> None:
    print("about to die")
    if how == "exit":
        os._exit(7)
    elif how == "sys.exit":
        sys.exit(3)
    else:
        os.kill(os.getpid(), getattr(signal, how))


def die_and_leave_a_child() -> None:
    if os.fork() == 0:
        time.sleep(300)
        os._exit(0)
    os._exit(7)


def hang() -> None:
    time.sleep(300)


def busy() -> None:
    emit(str(os.getpid()))
    time.sleep(300)


def hang_with_events() -> None:
    while True:
        emit("still at it")
        time.sleep(0.01)


def hoard() -> None:
    kept = []
    while True:
        kept.append(os.urandom(20_000_000))
        time.sleep(0.02)


def hoard_in_a_child() -> None:
    subprocess.run([sys.executable, "-c", f"import {__name__} as t; t.hoard()"], check=True)


def tell(count: int) -> str:
    for i in range(count):
        emit(f"step {i}", i / count)
    emit("without a share")
    return "done"


class Counter:
    """Counts in a worker."""

    def __init__(self, start: int) -> None:
        if start < 0:
            raise errors.ModelError("it starts below 0")
        self.value = start
        self.child: subprocess.Popen[bytes] | None = None

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def fail(self) -> None:
        raise RuntimeError("not this time")

    def pid(self) -> int:
        return os.getpid()

    def pids(self) -> list[int]:
        """Its own, and that of a child it starts."""
        if self.child is None:
            self.child = subprocess.Popen(["sleep", "300"])
        return [os.getpid(), self.child.pid]

    def sleep(self, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

"""What runs inside a worker process: ``python -m mlopt.workers.child``.

The first line on standard input names what to open (``module:function`` or ``module:Class``); a
function's result is the answer. An instance of a class stays, and each further line calls one of
its methods. The process ends with its input.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from mlopt.errors import MloptError
from mlopt.workers.channel import open_channel, send


def main() -> None:
    """Serves until standard input ends."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when we end
    requests = open_channel()
    instance: Any = None
    for line in requests:
        request = json.loads(line)
        arguments = request.get("arguments", {})
        if "open" in request:
            target = _find(request["open"])
            if isinstance(target, type):
                instance = _answer(target, arguments, describe=False)
            else:
                _answer(target, arguments)
        else:
            _answer(getattr(instance, request["call"]), arguments)


def _answer(call: Callable[..., Any], arguments: dict[str, Any], describe: bool = True) -> Any:
    try:
        result = call(**arguments)
        send({"result": result if describe else None})
        return result
    except MloptError as e:
        send({"error": {"kind": type(e).__name__, "message": str(e)}})
    except Exception as e:  # noqa: BLE001  # foreign code; the parent raises it again
        traceback.print_exc()
        message = f"{type(e).__name__}: {e}".strip().splitlines()[0]
        send({"error": {"kind": None, "message": message[:500]}})
    return None


def _find(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def _die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies, so that none is left behind."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    main()

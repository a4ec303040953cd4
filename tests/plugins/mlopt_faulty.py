"""A plug-in that misbehaves on purpose: it kills its process, hangs, or eats memory.

It comes in as any third-party plug-in would, through entry points.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from typing import Any, ClassVar, Literal

from mlopt.providers import Provider
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext

Fault = Literal["kill", "hang", "hoard", "raise", "none"]


def misbehave(fault: Fault) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "hang":
        time.sleep(3600)
    elif fault == "hoard":
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1) * 50_000_000))
            time.sleep(0.02)
    elif fault == "raise":
        raise RuntimeError("a kernel of this pass is broken")


class FaultyPass(Pass):
    """Copies the model, after it has misbehaved.

    Attributes:
        fault: What it does.
    """

    name: ClassVar[str] = "faulty_pass"
    summary: ClassVar[str] = "misbehaves"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"

    fault: Fault = "none"

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        misbehave(self.fault)
        shutil.copyfile(artifact.main_file, context.workspace / "model.onnx")
        manifest = artifact.manifest
        return Draft(main="model.onnx", inputs=manifest.inputs, outputs=manifest.outputs)


class _Faulty(Provider):
    summary: ClassVar[str] = "misbehaves"
    install: ClassVar[str] = "pip install 'mlopt[cpu]'"
    host_memory: ClassVar[bool] = True
    fault: ClassVar[Fault]
    timed: ClassVar[bool]

    @property
    def ort_name(self) -> str:
        return "CPUExecutionProvider"

    def options(self) -> dict[str, Any]:
        being_timed = "mlopt.profiling.session" in sys.modules
        if being_timed == self.timed:
            misbehave(self.fault)
        return {}


class KillsWhileScored(_Faulty):
    name: ClassVar[str] = "faulty_kill_score"
    fault, timed = "kill", False


class HangsWhileScored(_Faulty):
    name: ClassVar[str] = "faulty_hang_score"
    fault, timed = "hang", False


class HoardsWhileScored(_Faulty):
    name: ClassVar[str] = "faulty_hoard_score"
    fault, timed = "hoard", False


class KillsWhileTimed(_Faulty):
    name: ClassVar[str] = "faulty_kill_time"
    fault, timed = "kill", True


class HangsWhileTimed(_Faulty):
    name: ClassVar[str] = "faulty_hang_time"
    fault, timed = "hang", True


class HoardsWhileTimed(_Faulty):
    name: ClassVar[str] = "faulty_hoard_time"
    fault, timed = "hoard", True

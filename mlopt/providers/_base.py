"""The contract of a provider."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar

from mlopt.errors import UnavailableError
from mlopt.types.record import Record

if TYPE_CHECKING:
    import onnxruntime as ort

EITHER_RUNTIME = (
    "Install exactly one of them: pip install 'mlopt[cpu]' (onnxruntime) or "
    "pip install 'mlopt[gpu]' (onnxruntime-gpu)."
)


class Provider(Record):
    """An execution provider of ONNX Runtime.

    Attributes:
        name: The name that ``--provider`` takes; also the name of its file.
        summary: One line for ``mlopt doctor``.
        install: What to do where ONNX Runtime lacks it.
        host_memory: Whether it computes in the host's memory, so that inputs can be bound
            before the clock starts without hiding a copy.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    install: ClassVar[str]
    host_memory: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The name in reports and candidates."""
        return self.name

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        raise NotImplementedError(f"{type(self).__name__} must define ort_name")

    def options(self) -> dict[str, Any]:
        """Provider options for the session."""
        return {}

    def attach(self, options: ort.SessionOptions) -> list[tuple[str, dict[str, Any]]] | None:
        """Prepares a session to run here; nodes that it cannot take fall back to the CPU.

        Args:
            options: Of the session; a plug-in adds its device to them.

        Returns:
            What ``InferenceSession`` takes as ``providers``; None when ``options`` say it all.
        """
        chosen = [(self.ort_name, self.options())]
        fallback: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
        return chosen if self.ort_name == fallback[0] else [*chosen, fallback]

    def unavailable_because(self) -> str | None:
        """Why it cannot be used here and how to mend that, in one line; None when it can."""
        if (reason := runtime_problem()) is not None:
            return reason
        import onnxruntime

        if self.ort_name in onnxruntime.get_available_providers():
            return None
        found = ", ".join(onnxruntime.get_available_providers())
        return f"this onnxruntime has no {self.ort_name} (it has {found}). {self.install}"

    def require(self) -> None:
        """Checks that it can be used here.

        Raises:
            UnavailableError: It cannot; the message says why and how to mend it.
        """
        if (reason := self.unavailable_because()) is not None:
            raise UnavailableError(f"provider '{self.label}' is unavailable: {reason}")


def runtime_problem() -> str | None:
    """What is wrong with the installation of ONNX Runtime, which two packages own; or None."""
    installed = []
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            installed.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    if not installed:
        return f"neither onnxruntime nor onnxruntime-gpu is installed. {EITHER_RUNTIME}"
    if len(installed) > 1:
        return f"{' and '.join(installed)} overwrite each other's files. {EITHER_RUNTIME}"
    return None


def runtime_builds() -> dict[str, str]:
    """What ONNX Runtime was built from, and the CUDA below it; empty where it is not installed."""
    if runtime_problem() is not None:
        return {}
    import onnxruntime
    from onnxruntime.capi import build_and_package_info

    # The rest of the line holds the flags of the compiler, and may hold paths.
    facts = re.findall(r"(git-commit-id|build type)=(\w+)", onnxruntime.get_build_info())
    found = {"onnxruntime": " ".join(value for _, value in facts)} if facts else {}
    cuda = getattr(build_and_package_info, "cuda_version", "")
    return found | ({"CUDA": str(cuda)} if cuda else {})

"""The contract of a provider."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from mlopt.errors import UnavailableError
from mlopt.serving import Binding
from mlopt.serving.attach import Attachment, Chosen
from mlopt.types.record import Record

ORT = "onnxruntime"
"""Name of the runner of ONNX Runtime."""

EITHER_RUNTIME = (
    "Install exactly one of them: pip install 'mlopt[cpu]' (onnxruntime) or "
    "pip install 'mlopt[gpu]' (onnxruntime-gpu)."
)


class Provider(Record):
    """An execution provider of ONNX Runtime, or the library below one, run by itself.

    Attributes:
        name: The name that ``--provider`` takes; also the name of its file.
        summary: One line for ``mlopt doctor``.
        install: What to do where ONNX Runtime lacks it.
        host_memory: Whether it computes in the host's memory, so that inputs can be bound
            before the clock starts without hiding a copy.
        variants: Other ways to run on it, by what their name adds: ``openvino-bf16``. Each is a
            provider of its own to whoever chooses one; its value sets fields.
        variant_summaries: One line for each variant: what it changes, in speed and in answers.
        session: Session settings that suit it, where a recipe names no others.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    install: ClassVar[str]
    host_memory: ClassVar[bool] = False
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    variant_summaries: ClassVar[dict[str, str]] = {}
    session: ClassVar[dict[str, Any]] = {}

    @property
    def variant(self) -> str | None:
        """What its name adds; None where it is none of the variants."""
        changed = self.model_dump(exclude_defaults=True)
        return next((name for name, fields in self.variants.items() if fields == changed), None)

    @property
    def label(self) -> str:
        """The name in reports and candidates: with the variant, where it is one."""
        return self.name if self.variant is None else f"{self.name}-{self.variant}"

    @property
    def about(self) -> str:
        """What it is, in one line."""
        return self.summary if self.variant is None else self.variant_summaries[self.variant]

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        raise NotImplementedError(f"{type(self).__name__} must define ort_name")

    def runners(self) -> tuple[str, ...]:
        """Names of the runners that execute a model on it here, the usual one first."""
        return (ORT,)

    @property
    def runner(self) -> str:
        """The usual one of these; ONNX Runtime's where nothing can run on it here."""
        return next(iter(self.runners()), ORT)

    @property
    def binding(self) -> Binding | None:
        """How inputs and outputs are bound; None: not at all, and every copy is timed."""
        return Binding("cpu") if self.host_memory else None

    def options(self) -> dict[str, Any]:
        """Provider options for the session."""
        return {}

    def attachment(self, threads: int = 0) -> Attachment:
        """What brings it to a session; nodes that it cannot take fall back to the CPU.

        Args:
            threads: Of the session, inside an operator; 0 leaves their number to ONNX Runtime.
        """
        fallback: Chosen = [("CPUExecutionProvider", {})]
        chosen = [(self.ort_name, self.options())]
        return Attachment(tuple(chosen if self.ort_name == fallback[0][0] else chosen + fallback))

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

"""Any other execution provider, by the name that ONNX Runtime gives it."""

from __future__ import annotations

from typing import ClassVar

from mlopt.errors import UnavailableError
from mlopt.providers._base import Provider, runtime_problem

SUFFIX = "ExecutionProvider"


class GenericProvider(Provider):
    """A provider that mlopt knows nothing about but its name.

    Attributes:
        runtime_name: Its name in ONNX Runtime, such as ``XnnpackExecutionProvider``.
    """

    name: ClassVar[str] = "generic"
    summary: ClassVar[str] = "any other provider of ONNX Runtime, by its name"
    install: ClassVar[str] = "Install a build of ONNX Runtime that has it."

    runtime_name: str = "CPUExecutionProvider"

    @property
    def label(self) -> str:
        """The short name in reports and candidates."""
        return self.runtime_name.removesuffix(SUFFIX).lower()

    @property
    def ort_name(self) -> str:
        """Its name in ONNX Runtime."""
        return self.runtime_name


def known_to_runtime() -> dict[str, str]:
    """Every provider that ONNX Runtime knows, built in or not: short name to its own name.

    Raises:
        UnavailableError: ONNX Runtime is not installed properly.
    """
    if (reason := runtime_problem()) is not None:
        raise UnavailableError(reason)
    import onnxruntime

    return {n.removesuffix(SUFFIX).lower(): n for n in onnxruntime.get_all_providers()}

"""The execution providers of ONNX Runtime: one file is one provider.

A provider with no file of its own goes through :class:`~mlopt.providers.generic.GenericProvider`
by the name that ONNX Runtime gives it.
"""

from __future__ import annotations

from mlopt.errors import ConfigError, did_you_mean
from mlopt.providers._base import Provider, runtime_builds, runtime_problem
from mlopt.registry import Folder

PROVIDERS: Folder[Provider] = Folder("mlopt.providers", Provider, "provider")

__all__ = [
    "PROVIDERS",
    "Provider",
    "available_providers",
    "resolve_provider",
    "runtime_builds",
    "runtime_problem",
]


def resolve_provider(name: str) -> Provider:
    """The provider called ``name``: a file of this folder, or any that ONNX Runtime knows.

    Args:
        name: ``cpu``, ``cuda``, ``xnnpack``, ``XnnpackExecutionProvider``, in any case.

    Raises:
        ConfigError: Nobody knows it.
        UnavailableError: ONNX Runtime is not installed, so that it cannot be asked.
    """
    from mlopt.providers.generic import GenericProvider, known_to_runtime

    short = name.lower().removesuffix("executionprovider")
    own = {n: entry for n, entry in PROVIDERS.entries.items() if entry is not GenericProvider}
    if short in own:
        return own[short]()
    known = known_to_runtime()
    if short in known:
        return GenericProvider(runtime_name=known[short])
    raise ConfigError(f"unknown provider '{name}'. {did_you_mean(short, {*own, *known})}")


def available_providers() -> dict[str, str | None]:
    """Every provider with a file of its own, and why it is unavailable (None: it is not)."""
    from mlopt.providers.generic import GenericProvider

    return {
        name: entry().unavailable_because()
        for name, entry in PROVIDERS.entries.items()
        if entry is not GenericProvider
    }

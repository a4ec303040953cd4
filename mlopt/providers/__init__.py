"""The execution providers of ONNX Runtime: one file is one provider.

A provider with no file of its own goes through :class:`~mlopt.providers.generic.GenericProvider`
by the name that ONNX Runtime gives it.
"""

from __future__ import annotations

from mlopt.errors import ConfigError, did_you_mean
from mlopt.providers._base import ORT, Provider, runtime_builds, runtime_problem
from mlopt.registry import Folder

PROVIDERS: Folder[Provider] = Folder("mlopt.providers", Provider, "provider")

__all__ = [
    "ORT",
    "PROVIDERS",
    "Provider",
    "available_providers",
    "known_providers",
    "resolve_provider",
    "runtime_builds",
    "runtime_problem",
]


def resolve_provider(name: str) -> Provider:
    """The provider called ``name``: a file of this folder, or any that ONNX Runtime knows.

    Args:
        name: ``cpu``, ``openvino-bf16``, ``xnnpack``, ``XnnpackExecutionProvider``, in any case.

    Raises:
        ConfigError: Nobody knows it.
        UnavailableError: ONNX Runtime is not installed, so that it cannot be asked.
    """
    short = name.lower().removesuffix("executionprovider")
    base, _, variant = short.partition("-")
    if base != "generic" and (kind := PROVIDERS.own_file(base)) is not None:
        if not variant:
            return kind()
        if variant in kind.variants:
            return kind(**kind.variants[variant])
    own = known_providers()
    if short in own:
        return own[short]
    from mlopt.providers.generic import GenericProvider, known_to_runtime

    known = known_to_runtime()
    if short in known:
        return GenericProvider(runtime_name=known[short])
    raise ConfigError(f"unknown provider '{name}'. {did_you_mean(short, {*own, *known})}")


def available_providers() -> dict[str, str | None]:
    """Every provider that mlopt knows, and why it is unavailable (None: it is not)."""
    return {name: one.unavailable_because() for name, one in known_providers().items()}


def known_providers() -> dict[str, Provider]:
    """Those with a file or a plug-in of their own, each followed by its variants, by their names."""
    from mlopt.providers.generic import GenericProvider

    found: dict[str, Provider] = {}
    for name, kind in PROVIDERS.entries.items():
        if kind is not GenericProvider:
            found[name] = kind()
            found |= {f"{name}-{variant}": kind(**f) for variant, f in kind.variants.items()}
    return found

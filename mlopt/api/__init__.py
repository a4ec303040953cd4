"""The Python API: one function for each command, documented and typed.

Example:
    >>> from pathlib import Path
    >>> from mlopt import api
    >>> result = api.optimize(Path("sample_models/digits_resnet"))  # doctest: +SKIP
    >>> result.run.decision.chosen  # doctest: +SKIP
    'int8-static'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlopt.api._cache import CacheListing, cache_entries, prune_cache
    from mlopt.api._compare import CompareResult, compare
    from mlopt.api._diagnose import DiagnoseResult, diagnose
    from mlopt.api._doctor import DoctorCheck, DoctorReport, doctor
    from mlopt.api._gate import GateResult, gate
    from mlopt.api._init import init
    from mlopt.api._noise import NoiseFloor, stored_noise_floor
    from mlopt.api._optimize import OptimizeResult, optimize, plan
    from mlopt.api._profile import ProfileResult, profile
    from mlopt.api._recipes import list_recipes, show_recipe, validate_recipes
    from mlopt.api._report import render_report
    from mlopt.api._schema import schema
    from mlopt.api._verify import Verification, verify

_HOMES = {
    "CacheListing": "_cache", "cache_entries": "_cache", "prune_cache": "_cache",
    "CompareResult": "_compare", "compare": "_compare",
    "DiagnoseResult": "_diagnose", "diagnose": "_diagnose",
    "DoctorCheck": "_doctor", "DoctorReport": "_doctor", "doctor": "_doctor",
    "GateResult": "_gate", "gate": "_gate",
    "init": "_init",
    "NoiseFloor": "_noise", "stored_noise_floor": "_noise",
    "OptimizeResult": "_optimize", "optimize": "_optimize", "plan": "_optimize",
    "ProfileResult": "_profile", "profile": "_profile",
    "list_recipes": "_recipes", "show_recipe": "_recipes", "validate_recipes": "_recipes",
    "render_report": "_report",
    "schema": "_schema",
    "Verification": "_verify", "verify": "_verify",
}  # fmt: skip

__all__ = [
    "CacheListing",
    "CompareResult",
    "DiagnoseResult",
    "DoctorCheck",
    "DoctorReport",
    "GateResult",
    "NoiseFloor",
    "OptimizeResult",
    "ProfileResult",
    "Verification",
    "cache_entries",
    "compare",
    "diagnose",
    "doctor",
    "gate",
    "init",
    "list_recipes",
    "optimize",
    "plan",
    "profile",
    "prune_cache",
    "render_report",
    "schema",
    "show_recipe",
    "stored_noise_floor",
    "validate_recipes",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Imports a function's module when it is first asked for: each command loads only its own."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value

"""The fingerprint that stands in every run."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from mlopt.machine.frequency import governor, max_mhz, simultaneous_multithreading
from mlopt.machine.limits import cpu_quota, usable_cpus, usable_memory_bytes
from mlopt.machine.processor import read_processor
from mlopt.types.run import Environment

LIBRARIES = (
    "torch",
    "torch-pruning",
    "transformers",
    "optimum-onnx",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-openvino",
    "openvino",
    "numpy",
    "scipy",
    "torchmetrics",
)


def library_versions(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Versions of the installed distributions among ``names``; nothing is imported for it."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_environment(
    providers: tuple[str, ...], builds: Mapping[str, str] | None = None
) -> Environment:
    """Describes the machine; it holds no host name, user name or path.

    Args:
        providers: Execution providers that are available, found by the caller.
        builds: What the runtime and its providers were built from, found by the caller.
    """
    import psutil

    processor = read_processor()
    return Environment(
        cpu=processor.model,
        cpu_flags=tuple(sorted(processor.flags)),
        architecture=processor.architecture,
        cpus=usable_cpus(),
        cpus_on_host=psutil.cpu_count() or 1,
        memory_bytes=usable_memory_bytes(),
        operating_system=f"{platform.system()} {_numbers(platform.release())}",
        python=platform.python_version(),
        libraries=library_versions(),
        providers=providers,
        cpu_quota=cpu_quota(),
        governor=governor(),
        simultaneous_multithreading=simultaneous_multithreading(),
        max_mhz=max_mhz(),
        builds=dict(builds or {}),
    )


def _numbers(release: str) -> str:
    """The version of a kernel without what its builder added, which may name a machine."""
    match = re.match(r"[\d.]+", release)
    return match[0] if match else ""

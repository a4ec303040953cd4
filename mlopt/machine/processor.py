"""The processor and the instruction sets that decide which kernels run."""

from __future__ import annotations

import platform
from functools import cache
from typing import NamedTuple

KERNEL_FLAGS = frozenset(
    {"sse4_1", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16",
     "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "sve"}
)  # fmt: skip
"""Flags by the names that Linux gives them."""


class Processor(NamedTuple):
    """A processor."""

    model: str
    architecture: str
    flags: frozenset[str]

    @property
    def is_x86(self) -> bool:
        """Whether it is an x86 of 64 bits."""
        return self.architecture.lower() in {"x86_64", "amd64"}

    @property
    def has_vnni(self) -> bool:
        """Whether it multiplies 8-bit integers without saturating in between."""
        return has_vnni(self.flags)


def has_vnni(flags: frozenset[str]) -> bool:
    """Whether ``flags`` name an 8-bit dot product that accumulates in 32 bits (VNNI or AMX)."""
    return bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8"})


@cache
def read_processor() -> Processor:
    """Reads the processor through py-cpuinfo (once per process: it takes about a second)."""
    import cpuinfo

    info = cpuinfo.get_cpu_info()
    aliases = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "sse4.1": "sse4_1"}
    flags = {aliases.get(flag, flag) for flag in info.get("flags", [])}
    model = info.get("brand_raw") or platform.processor() or "unknown processor"
    return Processor(model, platform.machine(), frozenset(flags) & KERNEL_FLAGS)

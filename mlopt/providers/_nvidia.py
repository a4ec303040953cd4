"""What the providers on NVIDIA GPUs share: whether there is one."""

from __future__ import annotations

import sys

REMEDY = "Install its driver, or choose another provider."


def missing_gpu() -> str | None:
    """Why no NVIDIA GPU can be used here, as its driver says it; None when one can.

    That ONNX Runtime lists a provider says only that it was built with it.
    """
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return f"there is no NVIDIA driver here. {REMEDY}"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return f"the NVIDIA driver does not start here. {REMEDY}"
    return None if count.value else f"the NVIDIA driver sees no GPU here. {REMEDY}"

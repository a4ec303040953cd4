"""Runs in a worker: the peak memory of a calibration."""

from __future__ import annotations

from pathlib import Path


def peak(code: str, directory: str, examples: int) -> int:
    """Peak resident bytes of this process after quantizing with ``examples`` examples."""
    import numpy as np
    from pass_bench import Bench

    from mlopt.machine.own_usage import peak_rss_bytes
    from mlopt.types.tensors import TensorSpec

    place = Path(directory)
    place.mkdir()
    bench = Bench(place)
    for split, count in (("selection2", 96), ("calibration2", examples)):
        images = np.random.default_rng(0).normal(size=(count, 1, 64, 64)).astype(np.float32)
        bench.add_split(split, {"image": images})
        bench.snapshots[split[:-1]] = bench.snapshots[split]
    inputs = (TensorSpec(name="image", dtype="float32", shape=("batch", 1, 64, 64)),)
    exported = bench.apply("export_onnx", bench.source(code, inputs=inputs))
    bench.apply("int8_static", exported, calibration="percentile", samples=examples)
    return peak_rss_bytes()

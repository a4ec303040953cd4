"""The file that ONNX Runtime's profiler writes, as medians by node."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from mlopt.types.diagnosis import Arithmetic

Shape = tuple[int, ...]

CONTAINERS = frozenset({"If", "Loop", "Scan"})
"""What runs other nodes, which stand in the trace themselves."""

COMPILED = "compiled subgraph"
"""What stands for the type of a node that a provider made of many, which it names by a number."""

_KERNEL = "_kernel_time"


class Kernel(NamedTuple):
    """A node as it ran.

    Attributes:
        time_ms: The median over the runs of what it took in one inference; the profiler's clock has
            steps of a microsecond.
        activation_bytes: Of its inputs that are no constants.
        parameter_bytes: Of its constant inputs, but for those that the kernel packed for itself.
        inputs: Shapes of its inputs in their order; those that the kernel packed are left out.
        arithmetic: What it multiplies in, where the runtime says so; None: by its operator.
    """

    name: str
    operator: str
    provider: str
    time_ms: float
    activation_bytes: int = 0
    parameter_bytes: int = 0
    output_bytes: int = 0
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    arithmetic: Arithmetic | None = None


class Trace(NamedTuple):
    """What the profiler saw.

    Attributes:
        run_ms: Durations of the inferences, in their order.
        kernels: In the order in which they ran.
    """

    run_ms: tuple[float, ...]
    kernels: tuple[Kernel, ...]

    @property
    def nodes_ms(self) -> float:
        """Sum of the medians of all nodes."""
        return sum(kernel.time_ms for kernel in self.kernels)


def read_trace(path: Path, warmup: int = 0) -> Trace:
    """Reads a trace.

    Args:
        path: The file.
        warmup: Inferences at its beginning that do not count.

    Raises:
        ValueError: It holds no inference after the warm-up.
    """
    events = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    runs = sorted((int(e["ts"]), int(e["dur"])) for e in events if e.get("name") == "model_run")[
        warmup:
    ]
    if not runs:
        raise ValueError(f"{path.name} holds no inference")
    nodes = [e for e in events if _is_kernel(e)]
    return Trace(tuple(duration / 1e3 for _, duration in runs), _kernels(nodes, runs))


def _is_kernel(event: Mapping[str, Any]) -> bool:
    return (
        event.get("cat") == "Node"
        and str(event.get("name", "")).endswith(_KERNEL)
        and event["args"].get("op_name") not in CONTAINERS
    )


def _kernels(
    nodes: Iterable[Mapping[str, Any]], runs: Sequence[tuple[int, int]]
) -> tuple[Kernel, ...]:
    """One for each node, however often it ran in an inference."""
    starts = [start for start, _ in runs]
    times: dict[str, list[int]] = defaultdict(lambda: [0] * len(runs))
    last: dict[str, Mapping[str, Any]] = {}
    for event in sorted(nodes, key=lambda e: int(e["ts"])):
        run = bisect_right(starts, int(event["ts"])) - 1
        if run < 0 or int(event["ts"]) > sum(runs[run]):
            continue
        name = str(event["name"]).removesuffix(_KERNEL)
        times[name][run] += int(event["dur"])
        last[name] = event["args"]
    return tuple(_kernel(name, args, times[name]) for name, args in last.items())


def _kernel(name: str, args: Mapping[str, Any], microseconds: Sequence[int]) -> Kernel:
    operator, provider = str(args.get("op_name", "")), str(args.get("provider", ""))
    return Kernel(
        name=name,
        operator=COMPILED if provider and operator.startswith(provider) else operator,
        provider=provider,
        time_ms=median(microseconds) / 1e3,
        activation_bytes=int(args.get("activation_size", 0)),
        parameter_bytes=int(args.get("parameter_size", 0)),
        output_bytes=int(args.get("output_size", 0)),
        inputs=_shapes(args.get("input_type_shape")),
        outputs=_shapes(args.get("output_type_shape")),
    )


def _shapes(listed: Any) -> tuple[Shape, ...]:
    """Shapes of ``[{"float": [1, 3]}, ...]``."""
    return tuple(tuple(next(iter(one.values()))) for one in listed or () if one)

"""A model run by OpenVINO itself, with its own profiler and without."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from mlopt.diagnosis.execution import SECONDS, WARMUP, Execution, repeated, timed
from mlopt.diagnosis.trace import Kernel, Trace
from mlopt.providers import Provider
from mlopt.runners.openvino import OpenVinoRunner
from mlopt.serving.openvino_model import OpenVinoSession
from mlopt.types.artifact import Artifact
from mlopt.types.diagnosis import Arithmetic

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

PRODUCTS = frozenset(
    {
        "Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul",
        "ScaledDotProductAttention", "LSTMCell", "LSTMSequence", "GRUCell", "GRUSequence", "RNNCell",
        "RNNSequence",
    }
)  # fmt: skip
"""Types of nodes that multiply, as OpenVINO names them."""

IN_8_BITS = ("_i8", "_u8")
"""How the names of kernels end that multiply 8-bit integers: ``brgconv_avx512_1x1_I8``."""


def execute_openvino(
    artifact: Artifact, runner: OpenVinoRunner, provider: Provider, inputs: Sequence[Arrays]
) -> Execution:
    """Runs the model on ``inputs`` in turn, first as it ships, then under OpenVINO's profiler.

    Args:
        artifact: An ONNX model.
        runner: Its settings.
        provider: Where it runs.
        inputs: Of one shape.

    Raises:
        ModelError: It cannot be loaded or run here.
    """
    model = runner.model(artifact, provider)
    sizes = model.sizes(inputs[0])
    plain_ms = timed(model.create(sizes), inputs)
    session = OpenVinoSession(model.compiled(sizes, {"PERF_COUNT": "YES"}))
    seen: list[list[Any]] = []
    run_ms = repeated(
        [session.bind(one) for one in inputs], SECONDS, lambda: seen.append(session.profile())
    )
    trace = Trace(tuple(run_ms), _kernels(seen[WARMUP:], provider.ort_name))
    return Execution(tuple(plain_ms), len(run_ms), trace, graph=None, assigned=())


def _kernels(runs: Iterable[Iterable[Any]], provider: str) -> tuple[Kernel, ...]:
    """Medians of what the profiler saw in each run."""
    times: dict[str, list[float]] = defaultdict(list)
    kinds: dict[str, tuple[str, str]] = {}
    for node in itertools.chain.from_iterable(runs):
        if node.status == node.Status.EXECUTED:
            times[node.node_name].append(node.real_time.total_seconds() * 1e3)
            kinds[node.node_name] = node.node_type, node.exec_type
    return tuple(
        Kernel(
            name=name,
            operator=f"{operator} ({kernel})",
            provider=provider,
            time_ms=median(times[name]),
            arithmetic=arithmetic_of(operator, kernel),
        )
        for name, (operator, kernel) in kinds.items()
    )


def arithmetic_of(operator: str, kernel: str) -> Arithmetic | None:
    """What a node multiplies in; None where it is no product.

    Args:
        operator: Its type: ``Convolution``.
        kernel: What executes it: ``brgconv_avx512_1x1_I8``.
    """
    if operator not in PRODUCTS:
        return None
    return "int8" if kernel.lower().endswith(IN_8_BITS) else "float"

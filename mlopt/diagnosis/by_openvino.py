"""A model run by OpenVINO itself, with its own profiler and without."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from statistics import median
from typing import TYPE_CHECKING, Any

from mlopt.diagnosis.execution import SECONDS, WARMUP, Execution, runs_in, timed
from mlopt.diagnosis.trace import Kernel, Trace
from mlopt.errors import ModelError
from mlopt.providers import Provider
from mlopt.runners.openvino import OpenVinoRunner
from mlopt.serving.failure import cause_of
from mlopt.serving.openvino_model import OpenVinoModel
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
    try:
        plain_ms = timed(model.create(sizes), inputs)
        trace = _traced(model, sizes, inputs, provider)
    except ModelError:
        raise
    except Exception as e:  # OpenVINO raises RuntimeError of its C++ side
        raise ModelError(
            f"{artifact.manifest.main} cannot be run on {provider.label}: {cause_of(e)}"
        ) from e
    return Execution(tuple(plain_ms), len(trace.run_ms), trace, graph=None, assigned=())


def _traced(
    model: OpenVinoModel, sizes: Mapping[str, int], inputs: Sequence[Arrays], provider: Provider
) -> Trace:
    request = model.compiled(sizes, {"PERF_COUNT": "YES"}).create_infer_request()
    order = cycle(inputs)
    run_ms: list[float] = []
    for one in islice(order, WARMUP):
        run_ms = [_milliseconds(request, one)]
    times: dict[str, list[float]] = defaultdict(list)
    seen: dict[str, tuple[str, str]] = {}
    count = runs_in(SECONDS, run_ms[-1])
    run_ms = []
    for one in islice(order, count):
        run_ms.append(_milliseconds(request, one))
        for node in request.get_profiling_info():
            if "EXECUTED" in str(node.status):
                times[node.node_name].append(node.real_time.total_seconds() * 1e3)
                seen[node.node_name] = node.node_type, node.exec_type
    kernels = tuple(
        Kernel(
            name=name,
            operator=f"{operator} ({kernel})",
            provider=provider.ort_name,
            time_ms=median(took),
            arithmetic=arithmetic_of(operator, kernel),
        )
        for name, took in times.items()
        for operator, kernel in [seen[name]]
    )
    return Trace(tuple(run_ms), kernels)


def arithmetic_of(operator: str, kernel: str) -> Arithmetic | None:
    """What a node multiplies in; None where it is no product.

    Args:
        operator: Its type: ``Convolution``.
        kernel: What executes it: ``brgconv_avx512_1x1_I8``.
    """
    if operator not in PRODUCTS:
        return None
    return "int8" if kernel.lower().endswith(IN_8_BITS) else "float"


def _milliseconds(request: Any, inputs: Arrays) -> float:
    start = time.perf_counter()
    request.infer(dict(inputs))
    return (time.perf_counter() - start) * 1e3

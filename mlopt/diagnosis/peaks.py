"""What the machine reaches: a large product, through the same runtime, provider and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.diagnosis.execution import WithProfiler, timed
from mlopt.errors import MloptError
from mlopt.providers import Provider
from mlopt.types.artifact import Artifact, Manifest
from mlopt.types.diagnosis import NodeCost, Peaks

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Arrays = dict[str, np.ndarray[Any, Any]]
    Probe = Callable[[np.random.Generator], tuple[onnx.GraphProto, Arrays]]

SIZE = 1024
"""Rows and columns of the factors: 2^30 multiply-accumulates, 1 to 4 MB a factor."""

LARGE = 16_000_000
"""Elements of an array for the memory's speed: 64 MB, three of them."""

SECONDS = 0.25
"""For the inferences of one probe; the fastest counts."""

_OPSET, _IR = 17, 8


def measure_peaks(runner: WithProfiler, provider: Provider, scratch: Path) -> Peaks:
    """Times products of large matrices, and an addition of large arrays.

    Args:
        runner: Settings of the session that they are compared with.
        provider: Where it runs.
        scratch: An empty directory.
    """
    if provider.binding is None or provider.binding.device != "cpu":
        return Peaks(how=f"not measured: {provider.label} does not compute in the host's memory")
    macs = float(SIZE) ** 3
    int8 = [_fastest(build, runner, provider, scratch) for build in (_integer, _with_qdq)]
    in_float = _fastest(_float, runner, provider, scratch)
    added = _fastest(_addition, runner, provider, scratch)
    best = min((ms for ms in int8 if ms is not None), default=None)
    return Peaks(
        int8_gmacs_per_s=None if best is None else macs / best / 1e6,
        float_gmacs_per_s=None if in_float is None else macs / in_float / 1e6,
        memory_gb_per_s=None if added is None else 3 * 4 * LARGE / added / 1e6,
        how=(
            f"the fastest of several products of {SIZE} by {SIZE} matrices, and of additions of "
            f"arrays of {4 * LARGE / 1e6:.0f} MB, on {provider.label} with the threads of the session"
        ),
    )


def at_least_reached(peaks: Peaks, nodes: Iterable[NodeCost]) -> Peaks:
    """The peaks, but none below what a node of the model reached."""
    reached: dict[str, float] = {}
    for node in nodes:
        if node.arithmetic is not None and (rate := node.gmacs_per_s) is not None:
            name = f"{node.arithmetic}_gmacs_per_s"
            reached[name] = max(rate, reached.get(name, 0.0))
    measured = {name: getattr(peaks, name) for name in reached}
    return peaks.model_copy(
        update={n: reached[n] for n, peak in measured.items() if peak and reached[n] > peak}
    )


def _fastest(build: Probe, runner: WithProfiler, provider: Provider, scratch: Path) -> float | None:
    """Milliseconds of the fastest inference; None where the provider does not take the graph."""
    import numpy as np
    import onnx
    from onnx import helper

    graph, inputs = build(np.random.default_rng(0))
    opsets = [helper.make_opsetid("", _OPSET)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=_IR), str(scratch / "probe.onnx")
    )
    try:
        session = runner.model(_artifact(scratch), provider).create()
        if set(session.nodes()) != {provider.ort_name}:
            return None
        return min(timed(session, [inputs], SECONDS))
    except MloptError:  # a provider need not know every operator
        return None


def _artifact(directory: Path) -> Artifact:
    manifest = Manifest(
        format="onnx", main="probe.onnx", files={}, inputs=(), outputs=(), lineage=(), key=""
    )
    return Artifact(directory=directory, manifest=manifest)


def _integer(rng: np.random.Generator) -> tuple[onnx.GraphProto, Arrays]:
    from onnx import TensorProto, helper

    return _graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        _bytes(rng),
        {"b": rng.integers(-64, 64, (SIZE, SIZE)).astype("int8")},
        TensorProto.INT32,
    )


def _with_qdq(rng: np.random.Generator) -> tuple[onnx.GraphProto, Arrays]:
    import numpy as np
    from onnx import TensorProto, helper

    constants = {
        "b": rng.integers(-64, 64, (SIZE, SIZE)).astype("int8"),
        "scale": np.float32(0.01),
        "unsigned": np.uint8(128),
        "signed": np.int8(0),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "scale", "unsigned"], ["x"]),
        helper.make_node("DequantizeLinear", ["b", "scale", "signed"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("QuantizeLinear", ["product", "scale", "unsigned"], ["y"]),
    ]
    return _graph(nodes, _bytes(rng), constants, TensorProto.UINT8)


def _float(rng: np.random.Generator) -> tuple[onnx.GraphProto, Arrays]:
    from onnx import TensorProto, helper

    a, b = (rng.normal(size=(SIZE, SIZE)).astype("float32") for _ in range(2))
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    return _graph([node], {"a": a}, {"b": b}, TensorProto.FLOAT)


def _addition(_: np.random.Generator) -> tuple[onnx.GraphProto, Arrays]:
    import numpy as np
    from onnx import TensorProto, helper

    ones = np.ones(LARGE, dtype=np.float32)
    node = helper.make_node("Add", ["a", "b"], ["y"])
    return _graph([node], {"a": ones, "b": ones.copy()}, {}, TensorProto.FLOAT)


def _bytes(rng: np.random.Generator) -> Arrays:
    return {"a": rng.integers(0, 256, (SIZE, SIZE)).astype("uint8")}


def _graph(
    nodes: Sequence[onnx.NodeProto], inputs: Arrays, constants: dict[str, Any], output: int
) -> tuple[onnx.GraphProto, Arrays]:
    import numpy as np
    from onnx import helper, numpy_helper

    given = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in inputs.items()
    ]
    stored = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    result = [helper.make_tensor_value_info("y", output, next(iter(inputs.values())).shape)]
    return helper.make_graph(nodes, "probe", given, result, stored), inputs

"""How much the quantization of each layer hurts, where it happens: nothing adds up along the graph.

A layer is a product (a convolution, a matrix product) with what follows it until the next one: the
bias, the addition at the end of a residual block, the activation. They are one unit because they only
make sense together: a product that stays in float between an addition and an activation in 8 bits
gains two conversions and no accuracy.

The float graph runs once over some batches. Beside each tensor that the quantizer left its name, the
8-bit computation of it runs on the *float* tensors that it is computed from, with the scales of the
quantized file. What differs is that layer's own doing; the energy of the tensor over that of the
difference is its signal-to-quantization-noise ratio.

A tensor between layers is in 8 bits as long as any layer that puts it out or reads it is. So where it
is the tensor that hurts, and not the weights, which the same computation with float weights tells
apart, it counts for all of these: they come to stand beside each other in the ranking, and stay in
float together. That one channel of a tensor is far larger than the others shows where the others are
read, and not in the energy of the tensor itself.

Only sums leave the graph: memory holds the tensors of one batch.
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.errors import BuildError
from mlopt.machine import usable_cpus
from mlopt.passes._grafts import (
    compared,
    input_noise_of,
    noise_of,
    of_opset,
    opset,
    replaced,
    signal_of,
)
from mlopt.passes._onnx import EXTERNAL_DATA_FROM_BYTES
from mlopt.passes._slices import Slice, cut, owners, producers_of
from mlopt.types.record import Record

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime as ort

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]

MOST_DB = 300.0
"""Stands for no noise at all, and with the other sign for nothing but noise: JSON has no infinity."""


class Layer(Record):
    """A unit of the ranking.

    Attributes:
        nodes: Names of its quantized nodes in the float graph, as the option ``exclude`` takes them.
        operator: Of its product; empty for what stands before the first one.
        sqnr_db: Signal-to-quantization-noise ratio of the noisiest tensor that it puts out or
            reads, in decibels.
        arriving_db: The same at the model's scored output, with this layer alone in 8 bits; None
            where that was not looked at.
        loss: What that costs of the deciding metric, as a share of the float model's score; None
            where it was not looked at, or there are no targets.
    """

    nodes: tuple[str, ...]
    operator: str
    sqnr_db: float
    arriving_db: float | None = None
    loss: float | None = None


class Sensitivity:
    """A float graph and what a quantizer made of it, side by side."""

    def __init__(self, floats: Path, quantized: Path, scratch: Path) -> None:
        """Cuts both graphs at the tensors that they share.

        Args:
            floats: The graph that the quantizer took.
            quantized: What it made of it.
            scratch: Directory for graphs made from both.

        Raises:
            BuildError: No quantized node of the one can be found in the other.
        """
        import onnx

        self._quantized = onnx.load(str(quantized))
        self._floats = of_opset(onnx.load(str(floats)), opset(self._quantized))
        self._scratch = scratch
        self._owners = owners(self._floats.graph)
        self._slices = cut(self._floats.graph, self._quantized.graph)
        self._layers: dict[int, list[Slice]] = {}
        for part in self._slices:
            if any(self._floats.graph.node[position].name for position in part.replaces):
                self._layers.setdefault(self._owner(part), []).append(part)
        if not self._layers:
            raise BuildError(
                "the quantized nodes cannot be ranked: the quantizer left no tensor and no node of the "
                "float graph its name"
            )

    def rank(self, batches: Iterable[Arrays]) -> list[Layer]:
        """All layers, the noisiest first.

        Args:
            batches: Inputs by name.

        Raises:
            BuildError: ONNX Runtime cannot run the two graphs side by side.
        """
        session = self._open(compared(self._floats, self._quantized, self._slices))
        names = [output.name for output in session.get_outputs()]
        energy = defaultdict[str, float](float)
        for batch in batches:
            for name, found in zip(names, self._run(session, batch), strict=True):
                energy[name] += float(found)
        ratios = self._ratios(energy)
        nodes = self._floats.graph.node
        layers = [
            Layer(
                nodes=self._names(parts),
                operator=nodes[owner].op_type if owner >= 0 else "",
                sqnr_db=ratios[owner],
            )
            for owner, parts in self._layers.items()
        ]
        return sorted(layers, key=lambda layer: layer.sqnr_db)

    def answers(self, layer: Layer | None, batches: Iterable[Arrays]) -> Iterator[dict[str, Array]]:
        """What the float model answers with one layer alone in 8 bits, batch by batch.

        Args:
            layer: Of :meth:`rank`; None: none.
            batches: Inputs by name.

        Raises:
            BuildError: ONNX Runtime cannot run that.
        """
        chosen: Sequence[Slice] = () if layer is None else self._parts(layer)
        session = self._open(replaced(self._floats, self._quantized, chosen))
        names = [output.name for output in session.get_outputs()]
        for batch in batches:
            yield dict(zip(names, self._run(session, batch), strict=True))

    def _ratios(self, energy: Mapping[str, float]) -> dict[int, float]:
        """The worst ratio that each layer has a part in, in decibels."""
        producers = producers_of(self._floats.graph)
        found = dict.fromkeys(self._layers, MOST_DB)
        by_tensor: dict[str, float] = {}
        around: dict[str, set[int]] = {}
        for part in self._slices:
            owner, signal = self._owner(part), energy[signal_of(part)]
            own = decibels(energy[noise_of(part)], signal)
            found[owner] = min(found.get(owner, MOST_DB), own)
            for tensor, _ in part.reads:
                read = decibels(energy[input_noise_of(part)], signal)
                by_tensor[tensor] = min(by_tensor.get(tensor, MOST_DB), read)
                neighbours = around.setdefault(tensor, set())
                neighbours.add(owner)
                if tensor in producers:
                    neighbours.add(self._owners[producers[tensor]])
        for tensor, ratio in by_tensor.items():
            for owner in around[tensor]:
                found[owner] = min(found.get(owner, MOST_DB), ratio)
        return found

    def _owner(self, part: Slice) -> int:
        """The product that a slice belongs to."""
        return max(self._owners[position] for position in part.replaces)

    def _names(self, parts: Iterable[Slice]) -> tuple[str, ...]:
        nodes = self._floats.graph.node
        positions = sorted({position for part in parts for position in part.replaces})
        return tuple(nodes[position].name for position in positions if nodes[position].name)

    def _parts(self, layer: Layer) -> Sequence[Slice]:
        return next(found for found in self._layers.values() if self._names(found) == layer.nodes)

    def _open(self, model: onnx.ModelProto) -> ort.InferenceSession:
        """A session that rounds where the graph says so, and computes in float: no node is fused to INT8."""
        import onnx
        import onnxruntime as ort

        path = Path(tempfile.mkdtemp(dir=self._scratch)) / "model.onnx"
        size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
        outside = size > EXTERNAL_DATA_FROM_BYTES
        onnx.save(model, str(path), save_as_external_data=outside, location="model.data")
        options = ort.SessionOptions()
        options.intra_op_num_threads = usable_cpus()
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # ONNX Runtime raises classes of its C++ side
            raise _cannot_compare(e) from e

    @staticmethod
    def _run(session: ort.InferenceSession, batch: Arrays) -> list[Array]:
        wanted = {one.name for one in session.get_inputs()}
        try:
            found: list[Array] = session.run(None, {n: a for n, a in batch.items() if n in wanted})
        except Exception as e:  # as above
            raise _cannot_compare(e) from e
        return found


def decibels(noise: float, signal: float) -> float:
    """The signal-to-noise ratio of two energies in decibels, within :data:`MOST_DB`.

    A signal that is not finite, as where attention is masked with minus infinity, says nothing.
    """
    if noise == 0 or not math.isfinite(signal):
        return MOST_DB
    if signal == 0 or not math.isfinite(noise):
        return -MOST_DB
    return max(-MOST_DB, min(MOST_DB, 10 * math.log10(signal / noise)))


def _cannot_compare(error: Exception) -> BuildError:
    return BuildError(
        "the quantized nodes cannot be ranked: ONNX Runtime does not run the float and the quantized "
        f"graph side by side: {str(error).strip().splitlines()[0]}"
    )

"""Weights in 4 or 8 bits, activations in float: for models that wait for memory."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from mlopt.errors import BuildError
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext

if TYPE_CHECKING:
    import onnx

    from mlopt.passes._constants import Constants

_INTEGER_KERNELS = frozenset({"avx2", "avx512f", "asimddp"})
"""Flags of processors for which ONNX Runtime has kernels of accuracy level 4."""

_FLOATS = 1
_INTEGERS = 4


class WeightOnly(Pass):
    """ONNX Runtime's block-wise quantizer of weights (MatMulNBits), which rounds to the nearest.

    A block of a column has one scale: ``w`` becomes ``scale * (q - zero)`` with ``q`` of ``bits`` bits.
    It needs no data. What it saves is memory, and the time to read it; a model that waits for the
    arithmetic units gains nothing.

    Attributes:
        bits: Of a weight.
        block_size: Weights that share a scale, along the input axis. Smaller is more accurate, and larger
            on disk.
        symmetric: Zero is the middle of the range, so that no zero points are stored.
        accuracy_level: In what the product is computed: 1 is float32, and 4 lets ONNX Runtime round
            the activations of each block to 8 bits as it goes. ``auto`` is 4 where it has kernels for
            that (AVX2, the Arm dot product), as it is faster there. In float, weights of 8 bits are decoded
            anew at each call, which is many times slower than not to quantize them.
        exclude: Names of nodes that stay in float.
    """

    name: ClassVar[str] = "weight_only"
    summary: ClassVar[str] = "weights in 4 or 8 bits, activations in float (MatMulNBits)"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnx-ir")

    bits: Literal[4, 8] = 4
    block_size: Literal[16, 32, 64, 128, 256] = 32
    symmetric: bool = True
    accuracy_level: Annotated[int, Field(ge=0, le=4)] | Literal["auto"] = "auto"
    exclude: tuple[str, ...] = ()

    def resolve(self, cpu_flags: frozenset[str]) -> Self:
        """Chooses the accuracy level by the kernels for this CPU."""
        if self.accuracy_level != "auto":
            return self
        level = _INTEGERS if cpu_flags & _INTEGER_KERNELS else _FLOATS
        return self.model_copy(update={"accuracy_level": level})

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Quantizes the weights of matrix products.

        Raises:
            BuildError: No product has constant weights.
        """
        import onnx

        from mlopt.passes._constants import save_graph

        model = onnx.load(str(artifact.main_file))
        before = _operators(model)
        excluded = _prepare(model.graph, frozenset(self.exclude))
        model = self._quantize(model, excluded)
        if "MatMulNBits" not in _operators(model):
            raise BuildError(
                "no matrix product with constant weights that is not excluded: there is nothing to "
                f"quantize (the graph has {', '.join(sorted(before))})"
            )
        save_graph(model, context.workspace / "model.onnx", artifact.manifest.size_bytes)
        return Draft(
            main="model.onnx",
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            facts=_describe(model, self.bits),
        )

    def _quantize(self, model: onnx.ModelProto, excluded: list[str]) -> onnx.ModelProto:
        quantizer = _library().MatMulNBitsQuantizer(
            model,
            bits=self.bits,
            block_size=self.block_size,
            is_symmetric=self.symmetric,
            accuracy_level=self.resolve(frozenset()).accuracy_level,
            nodes_to_exclude=excluded,
        )
        quantizer.process()
        quantized: onnx.ModelProto = quantizer.model.model
        _drop_repeated(quantized.graph)
        return quantized


def _library() -> Any:
    """The quantizer's module, without the logging that its import sets up for the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    from onnxruntime.quantization import matmul_nbits_quantizer

    root.setLevel(level)
    root.handlers[:] = handlers
    matmul_nbits_quantizer.logger.setLevel(logging.WARNING)
    return matmul_nbits_quantizer


def _prepare(graph: onnx.GraphProto, excluded: frozenset[str]) -> list[str]:
    """Brings every product with constant weights into the form that the quantizer knows.

    That is a MatMul whose second input is an initializer of two axes.

    Returns:
        Names of nodes that stay in float.
    """
    from mlopt.passes._constants import Constants

    constants = Constants(graph)
    left = set(excluded)
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if node.op_type == "Gemm" and not node.domain and node.name not in excluded:
            _split_gemm(graph, place, constants)
            node = graph.node[place]
        if node.op_type != "MatMul" or node.name in excluded:
            continue
        node.name = node.name or constants.new_name("MatMul")
        if constants.dims(node.input[1]) is None:
            continue
        node.input[1] = constants.stored(node.input[1])
        if constants.value(node.input[1]).dtype == "float64":
            left.add(node.name)
    constants.drop_unused()
    return sorted(left)


def _split_gemm(graph: onnx.GraphProto, place: int, constants: Constants) -> None:
    """Writes ``alpha * A @ B + beta * C`` as a MatMul and an Add, where B is constant."""
    from onnx import helper

    gemm = graph.node[place]
    attributes = {a.name: helper.get_attribute_value(a) for a in gemm.attribute}
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    bias = gemm.input[2] if len(gemm.input) > 2 else ""
    scaled_bias = bias and beta != 1.0
    if (
        attributes.get("transA")
        or constants.dims(gemm.input[1]) is None
        or (scaled_bias and constants.dims(bias) is None)
    ):
        return
    weight = constants.stored(gemm.input[1], bool(attributes.get("transB")), alpha)
    product = constants.new_name(f"{gemm.output[0]}/product") if bias else gemm.output[0]
    nodes = [helper.make_node("MatMul", [gemm.input[0], weight], [product], name=gemm.name)]
    if bias:
        if scaled_bias:
            value = constants.value(bias)
            bias = constants.add((value * beta).astype(value.dtype), bias)
        name = constants.new_name(f"{gemm.name or gemm.output[0]}/Add")
        nodes.append(helper.make_node("Add", [product, bias], [gemm.output[0]], name=name))
    del graph.node[place]
    for node in reversed(nodes):
        graph.node.insert(place, node)


def _drop_repeated(graph: onnx.GraphProto) -> None:
    """Keeps one of the equal tensors that the quantizer makes of weights that products share."""
    seen: set[str] = set()
    for i in reversed(range(len(graph.initializer))):
        name = graph.initializer[i].name
        if name in seen:
            del graph.initializer[i]
        seen.add(name)


def _operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def _describe(model: onnx.ModelProto, bits: int) -> dict[str, Any]:
    """Facts: the products, by operator, and the share of the weights that is quantized."""
    from onnx import TensorProto

    from mlopt.passes._quantization import FLOAT_PRODUCTS

    nodes = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    sizes = {}
    for node in nodes:
        attributes = {a.name: a.i for a in node.attribute}
        sizes[node.input[1]] = attributes["K"] * attributes["N"]
    scales = {node.input[2] for node in nodes}
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}
    rest = sum(
        math.prod(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_type in floats and len(tensor.dims) > 1 and tensor.name not in scales
    )
    quantized = sum(sizes.values())
    operators = _operators(model)
    left = {kind: n for kind, n in operators.most_common() if kind in FLOAT_PRODUCTS}
    return {
        "quantized": {"MatMulNBits": operators["MatMulNBits"]},
        **({"left_in_float": left} if left else {}),
        f"share_of_weights_in_{bits}_bits": round(quantized / (quantized + rest), 3),
    }

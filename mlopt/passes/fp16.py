"""Weights and arithmetic in 16-bit floats."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlopt.errors import BuildError
from mlopt.passes._onnx import EXTERNAL_DATA_FROM_BYTES, all_nodes
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Brought, Draft, Pass, PassContext

if TYPE_CHECKING:
    import onnx

LARGEST = 65_504.0
"""The largest finite number of IEEE 754's binary16."""

QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits")


class Fp16(Pass):
    """ONNX Runtime's converter from 32-bit to 16-bit floats; inputs and outputs stay in 32 bits.

    Attributes:
        float_operators: Types of operators that stay in 32 bits, beside those that have no form in
            16: they square, add up or exponentiate, and 16 bits end at 65,504. A normalization that
            is one node adds up in 32 bits by itself.
        exclude: Names of nodes that stay in 32 bits.
    """

    name: ClassVar[str] = "fp16"
    summary: ClassVar[str] = "weights and arithmetic in 16-bit floats (ONNX Runtime)"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    float_operators: tuple[str, ...] = (
        "CumSum", "Exp", "Pow", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare",
    )  # fmt: skip
    exclude: tuple[str, ...] = ()

    def inapplicable(self, earlier: tuple[str, ...], brought: Brought) -> str | None:
        """Scales of a quantized model do not survive 16 bits."""
        quantizer = next((name for name in earlier if name.startswith("int8_")), None)
        return None if quantizer is None else f"'fp16' cannot stand after '{quantizer}'"

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Converts the graph.

        Raises:
            BuildError: The graph is quantized, or nothing in it is in 32-bit floats.
        """
        import onnx

        context.emit("reading the model")
        model = onnx.load(str(artifact.main_file))
        out_of_range = _check(model)
        target = context.workspace / "model.onnx"
        context.emit("converting to 16 bits")
        # Where shape inference fails, ONNX Runtime writes the graph into the current directory.
        with contextlib.chdir(context.scratch()):
            self._convert(
                model,
                target.resolve(),
                external=artifact.manifest.size_bytes > EXTERNAL_DATA_FROM_BYTES,
            )
        return Draft(
            main="model.onnx",
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            facts=_describe(target, out_of_range),
        )

    def _convert(self, model: onnx.ModelProto, target: Path, *, external: bool) -> None:
        from google.protobuf.message import EncodeError
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST
        from onnxruntime.transformers.onnx_model import OnnxModel

        wrapped = OnnxModel(model)
        try:
            # Symbolic inference knows fused operators, and has no limit of 2 GB.
            wrapped.convert_float_to_float16(
                use_symbolic_shape_infer=True,
                keep_io_types=True,
                op_block_list=[*DEFAULT_OP_BLOCK_LIST, *self.float_operators],
                node_block_list=list(self.exclude),
            )
            wrapped.save_model_to_file(str(target), use_external_data_format=external)
        except (EncodeError, MemoryError) as e:  # a part that must be one message is over 2 GB
            raise BuildError(f"the model cannot be converted to 16 bits: {e}") from e


def _check(model: onnx.ModelProto) -> int:
    """How many weights are beyond the range of 16 bits, and end at its last number.

    Raises:
        BuildError: There is nothing to convert, or it is quantized already.
    """
    import numpy as np
    from onnx import TensorProto, numpy_helper

    if found := sorted({n.op_type for n in all_nodes(model.graph)} & set(QUANTIZED)):
        raise BuildError(
            f"the model is quantized already (it has {', '.join(found)}): convert it to 16 bits "
            "before, or not at all"
        )
    tensors = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    if not tensors:
        raise BuildError("the model has no weights in 32-bit floats")
    arrays = (numpy_helper.to_array(tensor) for tensor in tensors)
    return sum(int((np.isfinite(a) & (np.abs(a) > LARGEST)).sum()) for a in arrays)


def _describe(path: Path, out_of_range: int) -> dict[str, Any]:
    """Facts on a converted graph, so that no candidate passes for more than it is."""
    import onnx
    from onnx import TensorProto

    graph = onnx.load(str(path), load_external_data=False).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    kept: Counter[str] = Counter()
    converted = casts = 0
    for node in all_nodes(graph):
        seen = {types.get(name) for name in (*node.input, *node.output)}
        if node.op_type == "Cast":
            casts += 1
        elif TensorProto.FLOAT16 in seen:
            converted += 1
        elif TensorProto.FLOAT in seen:
            kept[node.op_type] += 1
    facts: dict[str, Any] = {"nodes_in_16_bits": converted, "casts": casts}
    if kept:
        facts["left_in_32_bits"] = dict(kept.most_common())
    if out_of_range:
        facts["weights_cut_to_the_range"] = out_of_range
    return facts

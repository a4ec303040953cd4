"""Dynamic INT8: weights are stored in 8 bits, activations are scaled at run time."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from mlopt.passes._onnx import (
    EXTERNAL_DATA_FROM_BYTES,
    preprocess,
    resolve_reduce_range,
)
from mlopt.passes._quantization import describe_quantization
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext

MATRIX_OPERATORS = ("MatMul", "Gemm", "Attention", "LSTM", "EmbedLayerNormalization")


class Int8Dynamic(Pass):
    """ONNX Runtime's dynamic quantizer. It needs no calibration data.

    Attributes:
        per_channel: A scale for each output channel of a weight.
        reduce_range: 7 bits for weights. ``auto`` does so on x86 without VNNI or AMX, where
            8-bit products would saturate.
        convolutions: Also quantize convolutions, which are several times slower than in float on
            the CPU provider when their activations are scaled at run time.
        exclude: Names of nodes that stay in float.
    """

    name: ClassVar[str] = "int8_dynamic"
    summary: ClassVar[str] = "dynamic INT8 of matrix products (ONNX Runtime)"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    per_channel: bool = True
    reduce_range: bool | Literal["auto"] = "auto"
    convolutions: bool = False
    exclude: tuple[str, ...] = ()

    def resolve(self, cpu_flags: frozenset[str]) -> Self:
        """Chooses the range for this CPU."""
        reduce = resolve_reduce_range(self.reduce_range, cpu_flags)
        return self.model_copy(update={"reduce_range": reduce})

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Quantizes the weights.

        Raises:
            BuildError: Nothing in the graph can be quantized.
        """
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        prepared = context.scratch() / "prepared.onnx"
        preparation = preprocess(artifact.main_file, prepared)
        target = context.workspace / "model.onnx"
        quantize_dynamic(
            str(prepared),
            str(target),
            op_types_to_quantize=[*MATRIX_OPERATORS, *(["Conv"] if self.convolutions else [])],
            per_channel=self.per_channel,
            reduce_range=self.reduce_range is True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(self.exclude),
            use_external_data_format=artifact.manifest.size_bytes > EXTERNAL_DATA_FROM_BYTES,
            # Of a tensor behind a fused operator, whose type shape inference does not find.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        facts = describe_quantization(target) | {"preparation": preparation}
        return Draft(
            main="model.onnx",
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            facts=facts,
        )

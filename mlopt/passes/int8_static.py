"""Static INT8: scales for weights and activations, fixed by calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from mlopt.errors import BuildError
from mlopt.passes._onnx import (
    EXTERNAL_DATA_FROM_BYTES,
    is_x86,
    preprocess,
    resolve_reduce_range,
)
from mlopt.passes._products import (
    CONVOLUTIONS,
    PRODUCTS,
    products_of_activations,
    restore_float_readers,
)
from mlopt.passes._quantization import describe_quantization
from mlopt.passes._smoothing import inserted_nodes
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext
from mlopt.types.tensors import TensorSpec, fixed_batch

if TYPE_CHECKING:
    import numpy as np


class Int8Static(Pass):
    """ONNX Runtime's static quantizer, in the QDQ format.

    Attributes:
        calibration: How the range of an activation is chosen.
        percentile: Share of the values inside the range, for ``calibration: percentile``.
        samples: Most calibration examples.
        activations: ``auto`` takes uint8 on x86, whose kernels multiply unsigned by signed, and
            int8 elsewhere.
        per_channel: A scale for each output channel of a weight.
        reduce_range: 7 bits for weights. ``auto`` does so where 8-bit products would saturate:
            on x86 without VNNI or AMX.
        operators: ``all`` that ONNX Runtime can quantize, which suits convolutional networks; or
            ``products``: convolutions, and matrix products with weights, alone. What the latter make
            stays in float, and so do products of two activations. It suits transformers, whose
            outliers are in sums and normalizations. ``by_graph`` takes ``products`` where the graph
            multiplies activations with each other, as an attention does.
        exclude: Names of nodes that stay in float.
    """

    name: ClassVar[str] = "int8_static"
    summary: ClassVar[str] = "static INT8 with calibration (ONNX Runtime, QDQ)"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    splits: ClassVar[tuple[str, ...]] = ("calibration",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    samples: Annotated[int, Field(gt=0)] = 256
    activations: Literal["auto", "uint8", "int8"] = "auto"
    per_channel: bool = True
    reduce_range: bool | Literal["auto"] = "auto"
    operators: Literal["by_graph", "all", "products"] = "by_graph"
    exclude: tuple[str, ...] = ()

    def resolve(self, cpu_flags: frozenset[str]) -> Self:
        """Chooses types and range for this CPU."""
        natural = "uint8" if is_x86(cpu_flags) else "int8"
        activations = natural if self.activations == "auto" else self.activations
        reduce = resolve_reduce_range(self.reduce_range, cpu_flags)
        return self.model_copy(update={"activations": activations, "reduce_range": reduce})

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Calibrates one batch at a time, and quantizes.

        Raises:
            BuildError: Nothing in the graph can be quantized.
        """
        from onnxruntime.quantization import quantize_static

        prepared = context.scratch() / "prepared.onnx"
        preparation = preprocess(artifact.main_file, prepared)
        reader = StreamingReader(artifact.manifest.inputs, context, self.samples)
        target = context.workspace / "model.onnx"
        of_activations = products_of_activations(prepared)
        products_only = self.operators == "products" or (
            self.operators == "by_graph" and bool(of_activations)
        )
        in_float = [
            *self.exclude,
            *inserted_nodes(prepared),
            *(of_activations if products_only else ()),
        ]
        context.emit(f"calibrating on {reader.examples} examples")
        quantize_static(
            str(prepared),
            str(target),
            reader,
            use_external_data_format=artifact.manifest.size_bytes > EXTERNAL_DATA_FROM_BYTES,
            **self._options(in_float, products_only=products_only),
        )
        if products_only:
            restore_float_readers(target)
        facts = describe_quantization(target)
        facts |= {
            "operators": "products" if products_only else "all",
            "calibration_examples": reader.examples,
            "preparation": preparation,
        }
        return Draft(
            main="model.onnx",
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            facts=facts,
        )

    def _options(self, in_float: list[str], *, products_only: bool) -> dict[str, Any]:
        """The parameters as ONNX Runtime's quantizer takes them.

        Args:
            in_float: Names of the nodes that stay in float.
            products_only: Whether other operators than products do so too.
        """
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

        types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
        methods = {
            "minmax": CalibrationMethod.MinMax,
            "entropy": CalibrationMethod.Entropy,
            "percentile": CalibrationMethod.Percentile,
        }
        return {
            "quant_format": QuantFormat.QDQ,
            "per_channel": self.per_channel,
            "reduce_range": self.reduce_range is True,
            "activation_type": types[self.activations],
            "weight_type": QuantType.QInt8,
            "nodes_to_exclude": in_float,
            "calibrate_method": methods[self.calibration],
            "op_types_to_quantize": [*PRODUCTS, *CONVOLUTIONS] if products_only else None,
            "extra_options": {
                # One batch at a time: its activations are reduced to a range or a histogram before
                # the next one runs. (CalibMaxIntermediateOutputs drops what it clears unread.)
                "CalibStridedMinMax": 1,
                "CalibPercentile": self.percentile,
                "CalibTensorRangeSymmetric": self.activations == "int8",
                # A convolution has no kernel from 8 bits to float.
                "OpTypesToExcludeOutputQuantization": list(PRODUCTS) if products_only else [],
            },
        }


class StreamingReader:
    """Feeds calibration batches to ONNX Runtime, which asks for them range by range."""

    BATCH = 8

    def __init__(self, inputs: tuple[TensorSpec, ...], context: PassContext, most: int) -> None:
        """Prepares to read at most ``most`` examples of the calibration split.

        Raises:
            BuildError: The split has not one batch of the size that the model insists on.
        """
        fixed = fixed_batch(inputs)
        self._size = fixed or self.BATCH
        available = min(most, context.examples("calibration"))
        # A fixed batch axis takes whole batches only.
        self._batches = available // fixed if fixed else -(-available // self._size)
        if self._batches == 0:
            raise BuildError(
                f"calibration has {available} examples, and the model takes batches of exactly {fixed}"
            )
        self.examples = min(available, self._batches * self._size)
        self._context = context
        self._source = iter(context.data("calibration", self._size))
        self._done = 0
        self._end = self._batches

    def __len__(self) -> int:
        return self._batches

    def set_range(self, start_index: int, end_index: int) -> None:
        """Restricts what comes next; ONNX Runtime asks for ranges in their order."""
        self._end = end_index

    def get_next(self) -> Mapping[str, np.ndarray[Any, Any]] | None:
        """The next batch of the range, or None at its end."""
        if self._done >= self._end:
            return None
        batch = next(self._source)
        left = self.examples - self._done * self._size
        self._done += 1
        self._context.emit("calibrating", self._done / self._batches)
        return {name: array[:left] for name, array in batch.items()}

"""Static INT8 by NNCF: scales fixed by calibration, and placed where OpenVINO fuses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from mlopt.errors import BuildError
from mlopt.passes._nncf import CalibrationSource, load_nncf, without_progress_bars
from mlopt.passes._onnx import (
    EXTERNAL_DATA_FROM_BYTES,
    is_x86,
    preprocess,
    resolve_reduce_range,
)
from mlopt.passes._qdq import quantize_biases, repeat_behind_flatten, store_unsigned
from mlopt.passes._quantization import describe_quantization
from mlopt.passes._transformers import is_transformer
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext

if TYPE_CHECKING:
    import onnx


class Int8Nncf(Pass):
    """NNCF's post-training quantization of the ONNX graph, in the QDQ format.

    Attributes:
        preset: ``performance``: zero is in the middle of the range of an activation with both signs.
            ``mixed``: it is where it fits best. ``default``: NNCF's choice, ``mixed`` for a
            transformer and ``performance`` for all others.
        model_type: ``transformer`` leaves the residual sums in float and smooths what is hard to
            quantize. ``detect``: as the graph has attention or layer normalization, or has not.
        smooth_quant: How much of the spread of a transformer's activations moves into its weights,
            from 0 to 1 (alpha of SmoothQuant); ``none`` turns it off.
        fast_bias_correction: Corrects biases by means of the activations; otherwise layer by layer,
            which is slower.
        samples: Most calibration examples.
        reduce_range: 7 bits for weights. ``auto`` does so where 8-bit products would saturate: on
            x86 without VNNI or AMX.
        activations: ``natural``: those with both signs are int8. ``uint8``: the same values stored
            without their sign, as ONNX Runtime's own x86 kernels want them, and as OpenVINO does
            where it computes the rest in bfloat16: it has no convolution of an int8 whose zero is
            not 0. ``auto`` does so on x86.
        exclude: Names of nodes that stay in float.
    """

    name: ClassVar[str] = "int8_nncf"
    summary: ClassVar[str] = "static INT8 placed for OpenVINO's kernels (NNCF, QDQ)"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    splits: ClassVar[tuple[str, ...]] = ("calibration",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "nncf")
    modules: ClassVar[tuple[str, ...]] = ("nncf",)
    extra: ClassVar[str] = "openvino"

    preset: Literal["default", "performance", "mixed"] = "default"
    model_type: Literal["detect", "transformer", "none"] = "detect"
    smooth_quant: Annotated[float, Field(ge=0, le=1)] | Literal["none"] = 0.95
    fast_bias_correction: bool = True
    samples: Annotated[int, Field(gt=0)] = 256
    reduce_range: bool | Literal["auto"] = "auto"
    activations: Literal["auto", "natural", "uint8"] = "auto"
    exclude: tuple[str, ...] = ()

    def resolve(self, cpu_flags: frozenset[str]) -> Self:
        """Chooses types and range for this CPU."""
        natural = "uint8" if is_x86(cpu_flags) else "natural"
        activations = natural if self.activations == "auto" else self.activations
        reduce = resolve_reduce_range(self.reduce_range, cpu_flags)
        return self.model_copy(update={"activations": activations, "reduce_range": reduce})

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Calibrates one example at a time, and quantizes.

        Raises:
            BuildError: Nothing in the graph can be quantized, a name in ``exclude`` is none of its
                nodes, or the model is too large for NNCF.
        """
        import onnx

        refuse_a_large_one(artifact)
        prepared = context.scratch() / "prepared.onnx"
        preparation = preprocess(artifact.main_file, prepared)
        model = onnx.load(str(prepared))
        transformer = self._is_transformer(model.graph)
        rounds = 2 if transformer and self.smooth_quant != "none" else 1
        source = CalibrationSource(artifact.manifest.inputs, context, self.samples, rounds)
        context.emit(f"calibrating on {source.examples} examples")
        quantized = self._quantize(model, source, transformer)
        repeat_behind_flatten(quantized)
        finish = {
            "biases_in_32_bits": quantize_biases(quantized),
            "activations_without_sign": (
                store_unsigned(quantized) if self.activations == "uint8" else 0
            ),
        }
        target = context.workspace / "model.onnx"
        onnx.save(quantized, str(target))
        facts = describe_quantization(target) | finish
        facts |= {
            "calibration_examples": source.examples,
            "preparation": preparation,
            "model_type": "transformer" if transformer else "none",
        }
        return Draft(
            main=target.name,
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            facts=facts,
        )

    def _is_transformer(self, graph: onnx.GraphProto) -> bool:
        return is_transformer(graph) if self.model_type == "detect" else self.model_type != "none"

    def _quantize(
        self, model: onnx.ModelProto, source: CalibrationSource, transformer: bool
    ) -> onnx.ModelProto:
        nncf: Any = load_nncf()
        presets = nncf.QuantizationPreset
        try:
            with without_progress_bars():
                quantized: onnx.ModelProto = nncf.quantize(
                    model,
                    nncf.Dataset(source),
                    preset={"performance": presets.PERFORMANCE, "mixed": presets.MIXED}.get(
                        self.preset
                    ),
                    target_device=nncf.TargetDevice.CPU,
                    subset_size=len(source),
                    fast_bias_correction=self.fast_bias_correction,
                    model_type=nncf.ModelType.TRANSFORMER if transformer else None,
                    ignored_scope=nncf.IgnoredScope(names=list(self.exclude)),
                    advanced_parameters=self._advanced(nncf),
                )
        except (nncf.ValidationError, nncf.UnsupportedModelError) as e:
            raise BuildError(f"NNCF: {str(e).strip().splitlines()[0]}") from e
        return quantized

    def _advanced(self, nncf: Any) -> Any:
        from nncf.quantization.advanced_parameters import QuantizationParameters

        fixes = nncf.OverflowFix
        alpha = -1 if self.smooth_quant == "none" else self.smooth_quant
        return nncf.AdvancedQuantizationParameters(
            overflow_fix=fixes.ENABLE if self.reduce_range is True else fixes.DISABLE,
            # A scale for each channel, NNCF's choice before a depthwise convolution, is more than
            # the kernels of ONNX Runtime take.
            activations_quantization_params=QuantizationParameters(per_channel=False),
            smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha),
        )


def refuse_a_large_one(artifact: Artifact) -> None:
    """NNCF holds the model in one message, for which 2 GB is the limit.

    Raises:
        BuildError: The model is larger, or will be on the way.
    """
    size = artifact.manifest.size_bytes
    if size > EXTERNAL_DATA_FROM_BYTES:
        raise BuildError(
            f"NNCF holds an ONNX model in one message of at most 2 GB; this one has "
            f"{size / 1e9:.1f} GB. Use int8_static, int8_dynamic or weight_only."
        )

"""Static INT8 by neural-compressor, made to fuse in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from mlopt.passes._onnx import is_x86, resolve_reduce_range
from mlopt.passes._quantization import describe_quantization
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from mlopt.passes._inc.calibration import Calibration
    from mlopt.passes._inc.quantize import Quantized


class Int8Inc(Pass):
    """neural-compressor's quantizer for PT2E graphs, exported to ONNX and completed there.

    What it quantizes fuses in another compiler. For ONNX Runtime the weights are folded to INT8, the
    biases to INT32, and Q/DQ is added where a convolution or a sum would stay in float without.

    Attributes:
        algorithm: How the range of an activation is chosen: ``minmax`` averages the ends over
            batches, ``kl`` searches a histogram.
        tune: Let neural-compressor's autotuning choose the algorithm, by what stays closest to the
            float model on the calibration examples; ``algorithm`` then only comes first.
        samples: Most calibration examples.
        activations: ``auto`` takes uint8 on x86, whose kernels multiply unsigned by signed, and
            int8 elsewhere.
        symmetric: Activations with zero in the middle. A ReLU is then an operator of its own.
        attention: Also quantize products of two activations, as in attention.
        reduce_range: 7 bits for weights. ``auto`` does so where 8-bit products would saturate:
            on x86 without VNNI or AMX.
        exclude: Names of nodes of the ONNX graph that stay in float.
    """

    name: ClassVar[str] = "int8_inc"
    summary: ClassVar[str] = "static INT8 with calibration (neural-compressor, PT2E to QDQ)"
    consumes: ClassVar[Format] = "torch"
    produces: ClassVar[Format] = "onnx"
    splits: ClassVar[tuple[str, ...]] = ("calibration",)
    libraries: ClassVar[tuple[str, ...]] = (
        "torch", "torchao", "neural-compressor", "onnx", "onnx-ir", "onnxscript", "onnxruntime",
        "transformers",
    )  # fmt: skip
    modules: ClassVar[tuple[str, ...]] = ("neural_compressor", "torchao")
    extra: ClassVar[str] = "inc"

    algorithm: Literal["minmax", "kl"] = "minmax"
    tune: bool = False
    samples: Annotated[int, Field(gt=0)] = 256
    activations: Literal["auto", "uint8", "int8"] = "auto"
    symmetric: bool = False
    attention: bool = False
    reduce_range: bool | Literal["auto"] = "auto"
    exclude: tuple[str, ...] = ()

    def resolve(self, cpu_flags: frozenset[str]) -> Self:
        """Chooses types and range for this CPU."""
        natural = "uint8" if is_x86(cpu_flags) else "int8"
        activations = natural if self.activations == "auto" else self.activations
        reduce = resolve_reduce_range(self.reduce_range, cpu_flags)
        return self.model_copy(update={"activations": activations, "reduce_range": reduce})

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Traces, calibrates, converts, exports, and completes the graph.

        Raises:
            BuildError: The model cannot be traced or exported, or nothing in it be quantized.
        """
        from mlopt.frameworks.torch_module import load_module
        from mlopt.passes._constants import save_graph
        from mlopt.passes._inc.calibration import Calibration
        from mlopt.passes._inc.export import call_of, to_onnx, trace

        inputs = artifact.manifest.inputs
        module, model = load_module(artifact, context.project_dir)
        calibration = Calibration(inputs, context, self.samples)
        call = call_of(module, calibration.example())
        context.emit("tracing")
        graph = trace(module, call, inputs)
        quantized = self._quantized(graph, calibration, context)
        context.emit("exporting")
        exported = to_onnx(quantized.graph, call, inputs, model.outputs)
        proto, facts = self._mended(exported, quantized, calibration, context)
        target = context.workspace / "model.onnx"
        save_graph(proto, target, artifact.manifest.size_bytes)
        facts |= {"calibration_examples": calibration.examples}
        return Draft(
            main="model.onnx",
            inputs=inputs,
            outputs=artifact.manifest.outputs,
            facts=describe_quantization(target) | facts,
        )

    def _quantized(self, graph: Any, calibration: Calibration, context: PassContext) -> Quantized:
        from mlopt.passes._inc.quantize import Scheme, quantize, quantize_best

        assert self.activations != "auto", "resolved"
        scheme = Scheme(self.activations, self.symmetric, self.algorithm)
        context.emit(f"calibrating on {calibration.examples} examples")
        return (quantize_best if self.tune else quantize)(graph, scheme, calibration.batches)

    def _mended(
        self,
        model: ir.Model,
        quantized: Quantized,
        calibration: Calibration,
        context: PassContext,
    ) -> tuple[onnx.ModelProto, dict[str, Any]]:
        """The exported graph as ONNX Runtime wants it, and the facts on what that took."""
        import onnx_ir as ir

        from mlopt.passes._inc.complete import complete, missing_places
        from mlopt.passes._inc.exclude import keep_in_float
        from mlopt.passes._inc.fold import fold_weights, remove_clips
        from mlopt.passes._inc.ranges import grid_for, observe
        from mlopt.passes._qdq import quantize_biases

        keep_in_float(model, self.exclude)
        clips = remove_clips(model)
        weights = fold_weights(model, self.reduce_range is True)
        places = missing_places(model, self.attention, self.symmetric, self.exclude)
        unseen = [str(value.name) for value, quantizer in places.items() if quantizer is None]
        ranges = {}
        if unseen:
            context.emit(f"completing {len(unseen)} scales")
            path = context.scratch() / "observed.onnx"
            ranges = observe(ir.to_proto(model), unseen, calibration.batches(), path)
        kind = quantized.scheme.activations
        grids = {name: grid_for(seen, kind, self.symmetric) for name, seen in ranges.items()}
        added = complete(model, places, grids)
        proto = ir.to_proto(model)
        facts: dict[str, Any] = {
            "algorithm": quantized.scheme.algorithm,
            "clips_removed": clips,
            "weights_folded": weights,
            "biases_folded": quantize_biases(proto),
            "qdq_added": added.pairs,
            "scales_reused": added.reused,
        }
        if quantized.tried:
            facts["closeness_to_float"] = {k: round(v, 4) for k, v in quantized.tried.items()}
        return proto, facts

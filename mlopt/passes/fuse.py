"""ONNX Runtime's fusions for transformers: one node for an attention, one for a normalization."""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field

from mlopt.errors import BuildError
from mlopt.passes._onnx import EXTERNAL_DATA_FROM_BYTES
from mlopt.passes._parity import Compared, check_parity, onnx_answers
from mlopt.passes._transformers import Heads, find_heads
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext
from mlopt.types.tensors import TensorSpec

if TYPE_CHECKING:
    import onnx

ModelType = Literal["bert", "gpt2", "vit", "clip", "bart", "t5", "swin"]

ATTENTION = ("Attention", "MultiHeadAttention")

FUSIONS = frozenset(
    {
        *ATTENTION, "BiasGelu", "EmbedLayerNormalization", "FastGelu", "Gelu", "GemmFastGelu",
        "LayerNormalization", "QuickGelu", "RotaryEmbedding", "SimplifiedLayerNormalization",
        "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    }
)  # fmt: skip
"""The operators that the fusions make."""

COMPARED = Compared("the fused graph", "the original")


class Fused(NamedTuple):
    """A graph after the fusions for one kind of model.

    Attributes:
        fusions: How many nodes of each kind they made.
    """

    model_type: str
    model: onnx.ModelProto
    fusions: dict[str, int]

    @property
    def merit(self) -> tuple[int, int]:
        """Attentions first: a fused one saves the most."""
        return sum(self.fusions.get(one, 0) for one in ATTENTION), sum(self.fusions.values())


class Fuse(Pass):
    """Fuses attention, layer normalization, GELU and embeddings (ONNX Runtime's transformers tool).

    The nodes that it makes are ONNX Runtime's own; OpenVINO knows most of them. The answers stay the
    same, which is checked on real examples. ``int8_dynamic`` quantizes a fused attention, whose INT8
    kernel can be slower than the products that it stands for; ``int8_static`` and ``int8_nncf`` leave
    it in float and quantize what is around it.

    Attributes:
        model_type: The kind of model whose patterns are looked for. ``detect`` tries those that go
            with the inputs, and keeps what fuses the most attentions.
        heads: Of an attention; 0: read off the graph.
        hidden: Features of a token; 0: read off the graph.
    """

    name: ClassVar[str] = "fuse"
    summary: ClassVar[str] = "fuse attention, normalization and GELU (ONNX Runtime)"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    splits: ClassVar[tuple[str, ...]] = ("selection",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "torch")

    model_type: ModelType | Literal["detect"] = "detect"
    heads: Annotated[int, Field(ge=0)] = 0
    hidden: Annotated[int, Field(ge=0)] = 0

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Fuses, and compares with the graph as it was.

        Raises:
            BuildError: None of the patterns is in the graph, or the fused graph answers otherwise.
        """
        import onnx

        manifest = artifact.manifest
        original = onnx.load(str(artifact.main_file), load_external_data=False).graph
        fused = self._fuse(artifact, original)
        target = context.workspace / "model.onnx"
        large = manifest.size_bytes > EXTERNAL_DATA_FROM_BYTES
        onnx.save(
            fused.model, str(target), save_as_external_data=large, location=f"{target.name}.data"
        )
        context.emit("comparing with the graph as it was")
        answers = onnx_answers(artifact.main_file, manifest.inputs, context)
        facts = check_parity(target, answers, COMPARED) | {
            "model_type": fused.model_type,
            "fusions": fused.fusions,
            "nodes_before": len(original.node),
            "nodes_after": len(fused.model.graph.node),
        }
        return Draft(
            main=target.name, inputs=manifest.inputs, outputs=manifest.outputs, facts=facts
        )

    def _fuse(self, artifact: Artifact, original: onnx.GraphProto) -> Fused:
        """What fuses the most of the kinds of model that come into question.

        Raises:
            BuildError: None fuses anything.
        """
        heads = self._heads(original)
        kinds = kinds_for(artifact.manifest.inputs)
        if self.model_type != "detect":
            kinds = (self.model_type,)
        best: Fused | None = None
        for kind in kinds:
            found = fuse_as(kind, artifact.main_file, heads, count(original))
            if best is None or found.merit > best.merit:
                best = found
            if best.merit[0]:
                break
        assert best is not None
        if not best.fusions:
            raise BuildError(
                f"no attention, normalization or GELU of the graph fits ONNX Runtime's patterns "
                f"(tried {', '.join(kinds)})"
            )
        return best

    def _heads(self, original: onnx.GraphProto) -> Heads:
        """What is stated, else what the graph says, else (0, 0): the tool looks for itself.

        Raises:
            BuildError: One is stated and the other neither stated nor found, or they do not go
                together.
        """
        found = find_heads(original) or Heads(0, 0)
        heads = Heads(self.heads or found.number, self.hidden or found.hidden)
        whole = heads.hidden % heads.number == 0 if heads.number else heads.hidden == 0
        if not whole or bool(heads.number) != bool(heads.hidden):
            raise BuildError(
                f"{heads.number} heads do not divide {heads.hidden} features: give 'heads' and "
                "'hidden' of the model"
            )
        return heads


def kinds_for(inputs: Sequence[TensorSpec]) -> tuple[ModelType, ...]:
    """The kinds of model that take such inputs: tokens, or images and other floats."""
    of_tokens = any("int" in spec.dtype for spec in inputs)
    return ("bert", "gpt2") if of_tokens else ("vit", "clip")


def count(graph: onnx.GraphProto) -> Counter[str]:
    """Nodes by operator."""
    return Counter(node.op_type for node in graph.node)


def fuse_as(kind: ModelType, path: Path, heads: Heads, before: Counter[str]) -> Fused:
    """Looks for the patterns of one kind of model.

    Raises:
        BuildError: The tool fails on the graph.
    """
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions(kind)
    if kind not in {"vit", "swin"}:  # which have no mask
        # As it comes: the shorter form is right only where all padding is at the end.
        options.use_raw_attention_mask(True)
    try:
        with _quiet():
            model: onnx.ModelProto = optimize_model(
                str(path), kind, heads.number, heads.hidden, optimization_options=options
            ).model
    except Exception as e:  # the tool raises anything
        raise BuildError(
            f"ONNX Runtime's fusions for {kind} fail on the graph: {type(e).__name__}: {e}"
        ) from e
    after = count(model.graph)
    made = {name: after[name] - before[name] for name in sorted(FUSIONS)}
    return Fused(kind, model, {name: number for name, number in made.items() if number > 0})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tool prints, and warns of what it does not find."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)

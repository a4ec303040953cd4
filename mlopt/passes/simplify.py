"""Graph clean-up: what an exporter leaves behind and no answer depends on."""

from __future__ import annotations

import contextlib
import io
from typing import ClassVar

from mlopt.errors import BuildError
from mlopt.passes._onnx import EXTERNAL_DATA_FROM_BYTES
from mlopt.passes._parity import Compared, check_parity, onnx_answers
from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext


class Simplify(Pass):
    """Folds constants, drops what has no effect and merges what can be one node (onnxslim).

    The answers stay the same: checked on real examples, as an export is. ONNX Runtime does much of
    this when it loads a model; it pays where a provider takes the graph as it stands, and before a
    quantizer or a fusion that looks for a pattern.
    """

    name: ClassVar[str] = "simplify"
    summary: ClassVar[str] = "fold and remove needless nodes (onnxslim), answers unchanged"
    consumes: ClassVar[Format] = "onnx"
    produces: ClassVar[Format] = "onnx"
    splits: ClassVar[tuple[str, ...]] = ("selection",)
    libraries: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "onnxslim")
    modules: ClassVar[tuple[str, ...]] = ("onnxslim",)
    extra: ClassVar[str] = "simplify"

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Simplifies, and compares with the graph as it was.

        Raises:
            BuildError: onnxslim fails on the graph, or changes what it answers.
        """
        import onnx
        from onnxslim import slim

        manifest = artifact.manifest
        answers = onnx_answers(artifact.main_file, manifest.inputs, context)
        before = onnx.load(str(artifact.main_file), load_external_data=False)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                after = slim(str(artifact.main_file))
        except Exception as e:  # it raises anything
            raise BuildError(f"onnxslim fails on the graph: {type(e).__name__}: {e}") from e
        target = context.workspace / "model.onnx"
        large = manifest.size_bytes > EXTERNAL_DATA_FROM_BYTES
        onnx.save(after, str(target), save_as_external_data=large, location=f"{target.name}.data")
        facts = check_parity(target, answers, Compared("the simplified graph", "the original"))
        facts |= {"nodes_before": len(before.graph.node), "nodes_after": len(after.graph.node)}
        return Draft(
            main=target.name, inputs=manifest.inputs, outputs=manifest.outputs, facts=facts
        )

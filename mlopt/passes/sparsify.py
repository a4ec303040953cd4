"""Sparsity without removal: weights are zero, in 2:4 groups or anywhere."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mlopt.types.artifact import Artifact, Format
from mlopt.types.passes import Draft, Pass, PassContext


class Sparsify(Pass):
    """Sets the weights of the smallest magnitude to zero (Han et al., 2015), after training.

    Every shape stays, so a model is neither smaller on disk, until it is compressed, nor faster: the CPU
    providers of ONNX Runtime multiply by a zero as by any other number. It shows what sparsity would
    cost in accuracy where the hardware has it: ``2:4`` is the pattern of NVIDIA's sparse tensor cores
    (Mishra et al., 2021). To be smaller and faster, use ``prune_channels``.

    Attributes:
        pattern: ``2:4`` zeroes the two smallest of each four neighbours along the input axis;
            ``unstructured`` the smallest, wherever they are.
        share: Of the weights that become zero, for ``unstructured``; ``2:4`` is a half.
        scope: For ``unstructured``: the share is that of each ``layer``, or of all weights together
            (``global``), where layers with smaller weights lose more of them.
        exclude: Names of modules that keep all of their weights, with all that is in them.
    """

    name: ClassVar[str] = "sparsify"
    summary: ClassVar[str] = "small weights become zero, 2:4 or anywhere; no faster on a CPU"
    consumes: ClassVar[Format] = "torch"
    produces: ClassVar[Format] = "torch"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "safetensors")

    pattern: Literal["2:4", "unstructured"] = "2:4"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    scope: Literal["layer", "global"] = "layer"
    exclude: tuple[str, ...] = ()

    def apply(self, artifact: Artifact, context: PassContext) -> Draft:
        """Zeroes weights, and stores the model as it was.

        Raises:
            BuildError: There is no weight that the pattern fits.
        """
        from mlopt.frameworks.torch_module import load_module, save_module
        from mlopt.passes._sparsity import find_weights, mask_weights, zipped_bytes

        module, model = load_module(artifact, context.project_dir)
        groups = 4 if self.pattern == "2:4" else 1
        found = find_weights(module, self.exclude, groups)
        context.emit("compressing the weights as they are, for comparison")
        before = zipped_bytes(module)
        if self.pattern == "2:4":
            mask_weights(found.weights, "2:4")
        else:
            mask_weights(found.weights, self.scope, self.share)
        facts: dict[str, Any] = {
            "layers": len(found.weights),
            "share_of_their_weights_that_is_zero": found.zeros(),
            "zipped_bytes_before": before,
            "zipped_bytes": zipped_bytes(module),
            "speed": "none is gained: the CPU providers multiply by zeros as by any number",
        }
        if found.left:
            facts["left"] = found.left
        return Draft(
            main=save_module(module, model, context.workspace),
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            facts=facts,
        )


def undone_by(name: str, earlier: tuple[str, ...]) -> str | None:
    """Why the pass ``name`` cannot stand after ``earlier``: it would fill or move the zeros."""
    if Sparsify.name not in earlier:
        return None
    return f"'{name}' would undo the zeros of 'sparsify', which is to stand after it"

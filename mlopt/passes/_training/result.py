"""What a pass that trained leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlopt.frameworks.cost import count_cost
from mlopt.frameworks.torch_module import as_tensors, save_module
from mlopt.passes._stored import check_reload, stored_copy
from mlopt.passes._training.history import History
from mlopt.types.artifact import Artifact
from mlopt.types.passes import Draft, PassContext
from mlopt.types.tensors import fixed_batch
from mlopt.types.torch_model import TorchModel

if TYPE_CHECKING:
    import torch


def trained_draft(
    module: torch.nn.Module,
    model: TorchModel,
    artifact: Artifact,
    context: PassContext,
    history: History,
    **facts: Any,
) -> Draft:
    """Writes the trained module, with its cost and its training curve as facts.

    Args:
        module: In evaluation mode.
        model: How it is rebuilt.
        artifact: That it was made of: inputs and outputs are the same.
        context: Gives the workspace, and an example to count the cost on.
        history: Of its training.
        facts: More of them.

    Raises:
        BuildError: The stored module does not load again to what it was.
    """
    inputs = artifact.manifest.inputs
    # The examples that every step is counted on: texts differ in length, and so in MACs.
    example = as_tensors(next(iter(context.data("selection", fixed_batch(inputs) or 2))))
    cost = count_cost(module, example)
    check_reload(module, stored_copy(module, model, artifact, context), [example], context)
    return Draft(
        main=save_module(module, model, context.workspace),
        inputs=inputs,
        outputs=artifact.manifest.outputs,
        facts={**cost._asdict(), **facts, "training": history.model_dump(mode="json")},
    )

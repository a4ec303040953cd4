"""Asking a module: one batch, or all rows of a part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import BuildError, MloptError
from mlopt.frameworks.torch_module import call_module, name_outputs
from mlopt.passes._training.answers import answer_of
from mlopt.passes._training.material import Material, in_order
from mlopt.types.task import Task
from mlopt.workers.usercode import describe

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]
    Tensors = dict[str, torch.Tensor]


def copied(inputs: Tensors) -> Tensors:
    """The same batch for another module: a forward may work in place on what it is given."""
    return {name: tensor.clone() for name, tensor in inputs.items()}


class Respondent(NamedTuple):
    """A module and how it is asked.

    Attributes:
        outputs: Names of its outputs, in their order.
        fixed_batch: The batch size that it insists on; None when it is dynamic.
        project_dir: Where its code is, for messages.
    """

    module: torch.nn.Module
    outputs: tuple[str, ...]
    task: Task
    fixed_batch: int | None
    project_dir: Path

    def answer(self, inputs: Tensors) -> torch.Tensor:
        """What is scored of a batch, in the mode that the module is in.

        Raises:
            BuildError: The module raises; the message says in which mode and where.
        """
        try:
            found = name_outputs(call_module(self.module, inputs), self.outputs)
        except MloptError:
            raise
        except Exception as e:
            mode = "training" if self.module.training else "evaluation"
            raise BuildError(
                f"the model's forward raised in {mode} mode: {describe(e, self.project_dir)}"
            ) from e
        return answer_of(self.task, found, inputs)

    def answers(self, material: Material, rows: Array, size: int) -> Iterator[torch.Tensor]:
        """Answers to ``rows``, batch by batch, in evaluation mode and without gradients.

        Args:
            material: What the rows are of.
            rows: In ascending order.
            size: Of a batch, where the module insists on none.
        """
        import numpy as np
        import torch

        was_training = self.module.training
        self.module.eval()
        try:
            for batch in in_order(rows, self.fixed_batch or size):
                full = np.resize(batch, self.fixed_batch or len(batch))
                with torch.no_grad():
                    yield self.answer(material.inputs(full))[: len(batch)]
        finally:
            self.module.train(was_training)

"""A student of another architecture: it takes and gives what its teacher does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlopt.errors import BuildError, ModelError
from mlopt.frameworks.torch_module import as_tensors, build_module, call_module, name_outputs
from mlopt.sources.models.factory import load_weights
from mlopt.types.passes import PassContext, StudentModel
from mlopt.types.tensors import fixed_batch
from mlopt.types.torch_model import TorchModel
from mlopt.workers.usercode import describe, seed_randomness

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


def new_student(
    student: StudentModel, teacher: torch.nn.Module, outputs: tuple[str, ...], context: PassContext
) -> tuple[torch.nn.Module, TorchModel]:
    """Builds a student, and compares its outputs with its teacher's on an example.

    Args:
        student: Its factory, and its weights where it does not start with random ones.
        teacher: In evaluation mode.
        outputs: Names of the teacher's outputs, which are the student's.
        context: Gives the seed of random weights, and the example.

    Raises:
        BuildError: It does not take the inputs, or gives other outputs.
        ModelError: The factory raises, or the weights do not fit.
    """
    model = TorchModel(factory=student.factory, arguments=student.arguments, outputs=outputs)
    seed_randomness(context.seed)
    module = build_module(model, context.project_dir, "student.factory")
    if student.weights is not None:
        load_weights(
            module, context.project_dir / student.weights, student.weights, "student.weights"
        )
    size = fixed_batch(context.teacher.manifest.inputs) or 2
    example = as_tensors(next(iter(context.data("training", size))))
    named = f"the student '{student.factory}'"
    try:
        given = _outputs(module.eval(), example)
    except ModelError as e:
        raise BuildError(f"{named}: {e}") from e
    except Exception as e:
        raise BuildError(
            f"{named} does not take the inputs of its teacher: {describe(e, context.project_dir)}"
        ) from e
    wanted = _outputs(teacher, example)
    if [o.shape for o in given.values()] != [o.shape for o in wanted.values()]:
        raise BuildError(
            f"{named} gives {_shown(given)}, and its teacher {_shown(wanted)}: a student has the "
            "outputs of its teacher, in their order"
        )
    return module, model


def _outputs(module: torch.nn.Module, example: Tensors) -> Tensors:
    import torch

    with torch.no_grad():
        return name_outputs(call_module(module, example), ())


def _shown(outputs: Tensors) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in outputs.items())

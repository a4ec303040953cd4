"""From PyTorch to the graph that PT2E quantizes, and from there to ONNX."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import BuildError
from mlopt.passes._onnx import forget_origins
from mlopt.types.tensors import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    import torch

    Arrays = Mapping[str, np.ndarray[Any, Any]]

OPSET = 20
"""The first with Gelu, which ONNX Runtime fuses with the bias before it; in 18 it is six operators."""


class Call(NamedTuple):
    """How a module is called with example inputs.

    Attributes:
        positional: Tensors, or none where the module has parameters of the inputs' names.
        named: Tensors by name, or none.
    """

    positional: tuple[torch.Tensor, ...]
    named: dict[str, torch.Tensor]

    def shapes(self, inputs: Sequence[TensorSpec], dynamic: Any = None) -> Any:
        """The dynamic axes as the exporters take them: ``dynamic`` for each, or their names."""
        axes = {
            spec.name: {i: dynamic or axis for i, axis in enumerate(spec.shape) if _is_name(axis)}
            for spec in inputs
        }
        if self.named:
            return {name: axes[name] for name in self.named}
        return tuple(axes.values())


def _is_name(axis: int | str) -> bool:
    return isinstance(axis, str)


def call_of(module: torch.nn.Module, example: Arrays) -> Call:
    """How ``module`` is called with this batch."""
    from mlopt.frameworks.torch_module import arguments_for, as_tensors

    return Call(*arguments_for(module, as_tensors(example)))


def trace(
    module: torch.nn.Module, call: Call, inputs: Sequence[TensorSpec]
) -> torch.fx.GraphModule:
    """The module as a graph of operators, as neural-compressor's own ``export`` makes it.

    Args:
        module: In evaluation mode.
        call: With a batch of two or more: an exporter takes a size of one for a constant.
        inputs: Which axes stay dynamic.

    Raises:
        BuildError: The module cannot be traced, or only with one of these axes fixed.
    """
    import torch

    shapes = call.shapes(inputs, torch.export.Dim.DYNAMIC)
    failure: Exception | None = None
    for strict in (True, False):
        try:
            with _quietly(), torch.no_grad():
                program = torch.export.export(
                    module, call.positional, call.named, dynamic_shapes=shapes, strict=strict
                )
        except Exception as e:  # noqa: BLE001  # tracing runs the model and raises anything
            failure = e
            continue
        graph = program.module(check_guards=False)
        # neural-compressor looks for both.
        vars(graph).update(_exported=True, dynamic_shapes=shapes)
        return graph
    raise BuildError(f"PT2E cannot export the model: {_first_line(failure)}") from failure


def to_onnx(
    graph: torch.fx.GraphModule, call: Call, inputs: Sequence[TensorSpec], outputs: Sequence[str]
) -> ir.Model:
    """The converted graph in ONNX, with QuantizeLinear and DequantizeLinear.

    Raises:
        BuildError: The exporter fails, or fixes an axis that is dynamic.
    """
    import torch

    try:
        with _quietly():
            program = torch.onnx.export(
                graph,
                call.positional,
                kwargs=call.named or None,
                dynamo=True,
                input_names=list(call.named) or [spec.name for spec in inputs],
                output_names=list(outputs),
                opset_version=OPSET,
                dynamic_shapes=call.shapes(inputs),
                verbose=False,
            )
    except Exception as e:
        raise BuildError(f"the quantized graph cannot be exported to ONNX: {_first_line(e)}") from e
    assert program is not None, "the dynamo exporter returns what it made"
    forget_origins(program.model)
    check_axes(program.model, inputs)
    return program.model


def check_axes(model: ir.Model, inputs: Sequence[TensorSpec]) -> None:
    """Raises BuildError if an axis has one size in ``model`` that is dynamic in ``inputs``."""
    shapes = {value.name: value.shape for value in model.graph.inputs}
    for spec in inputs:
        for wanted, found in zip(spec.shape, shapes.get(spec.name) or (), strict=False):
            if isinstance(wanted, str) and isinstance(found, int):
                raise BuildError(
                    f"the exporter fixed the axis '{wanted}' of the input '{spec.name}' to {found}"
                )


@contextlib.contextmanager
def _quietly() -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _first_line(error: Exception | None) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"

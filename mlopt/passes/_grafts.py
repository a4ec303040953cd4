"""Graphs made of a float one and of slices of the quantized one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlopt.passes._slices import Slice

if TYPE_CHECKING:
    import onnx


def compared(
    floats: onnx.ModelProto, quantized: onnx.ModelProto, slices: Sequence[Slice]
) -> onnx.ModelProto:
    """The float model with slices beside the nodes that they replace.

    Args:
        floats: The float model.
        quantized: What the slices are of.
        slices: Each computes its tensor again, from float ones.

    Returns:
        A model whose outputs are energies (sums of squares), by slice: that of the float tensor, see
        :func:`signal_of`; that of the difference, :func:`noise_of`; and, of a slice that reads
        something in 8 bits, that of the difference with weights in float, :func:`input_noise_of`.
    """
    from onnx import TensorProto, helper

    model, renamed = _with_constants(floats, quantized, slices)
    by_tensor = {part.tensor: part for part in slices}
    nodes, outputs = [], []
    for node in floats.graph.node:
        nodes.append(node)
        for part in (by_tensor[name] for name in node.output if name in by_tensor):
            prefix = f"slice/{part.tensor}"
            nodes += _clone(part.nodes, prefix, {part.result: f"{prefix}/result"}, renamed)
            nodes += _difference(part.tensor, f"{prefix}/result", noise_of(part))
            nodes += _energy(part.tensor, signal_of(part))
            outputs += [signal_of(part), noise_of(part)]
            if part.reads:
                nodes += _in_float(floats, part, prefix)
                outputs.append(input_noise_of(part))
    _replace(model.graph.node, nodes)
    _replace(
        model.graph.output,
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, []) for name in outputs],
    )
    return model


def signal_of(part: Slice) -> str:
    """The output of :func:`compared` with the energy of a slice's tensor."""
    return f"energy/{part.tensor}/signal"


def noise_of(part: Slice) -> str:
    """The output of :func:`compared` with the energy of a slice's noise."""
    return f"energy/{part.tensor}/noise"


def input_noise_of(part: Slice) -> str:
    """The output of :func:`compared` with the noise that comes of what a slice reads."""
    return f"energy/{part.tensor}/input"


def _in_float(floats: onnx.ModelProto, part: Slice, prefix: str) -> list[onnx.NodeProto]:
    """The float nodes of a slice, that read what its own read."""
    read = {tensor: f"{prefix}/{pair}" for tensor, pair in part.reads}
    result = f"{prefix}/in-float"
    own = [floats.graph.node[position] for position in part.replaces]
    return [
        *_clone(own, f"{prefix}/float", {part.tensor: result}, read),
        *_difference(part.tensor, result, input_noise_of(part)),
    ]


def replaced(
    floats: onnx.ModelProto, quantized: onnx.ModelProto, slices: Sequence[Slice]
) -> onnx.ModelProto:
    """The float model with the tensors of slices computed as the quantized one does."""
    import onnx

    model, renamed = _with_constants(floats, quantized, slices)
    by_tensor = {part.tensor: part for part in slices}
    nodes = []
    for node in floats.graph.node:
        own = onnx.NodeProto()
        own.CopyFrom(node)
        own.output[:] = [f"float/{n}" if n in by_tensor else n for n in node.output]
        nodes.append(own)
        for part in (by_tensor[name] for name in node.output if name in by_tensor):
            nodes += _clone(part.nodes, f"slice/{part.tensor}", {part.result: part.tensor}, renamed)
    _replace(model.graph.node, nodes)
    return model


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model uses."""
    return next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)


def of_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """The model in another opset: what a quantizer made has to run in one graph with it."""
    from onnx import version_converter

    return model if opset(model) == version else version_converter.convert_version(model, version)


def _with_constants(
    floats: onnx.ModelProto, quantized: onnx.ModelProto, slices: Sequence[Slice]
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """A copy of the float model that also has the constants of slices, and what they are called."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(floats)
    own = {tensor.name: tensor.data_type for tensor in floats.graph.initializer}
    read = {name for part in slices for node in part.nodes for name in node.input}
    renamed = {}
    for tensor in quantized.graph.initializer:
        if tensor.name in read and own.get(tensor.name) != tensor.data_type:
            renamed[tensor.name] = f"quantized/{tensor.name}"
            copy = model.graph.initializer.add()
            copy.CopyFrom(tensor)
            copy.name = renamed[tensor.name]
    known = {one.domain for one in model.opset_import}
    model.opset_import.extend(o for o in quantized.opset_import if o.domain not in known)
    model.ir_version = max(model.ir_version, quantized.ir_version)
    return model, renamed


def _clone(
    nodes: Sequence[onnx.NodeProto],
    prefix: str,
    results: Mapping[str, str],
    renamed: Mapping[str, str],
) -> Iterator[onnx.NodeProto]:
    """Nodes under names of their own.

    Args:
        nodes: In their order.
        prefix: Of all names of theirs.
        results: Other names for what they compute.
        renamed: Other names for what they read and do not compute.
    """
    import onnx

    inner = {name: f"{prefix}/{name}" for node in nodes for name in node.output if name}
    inner |= results
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{prefix}/{node.name}"
        copy.input[:] = [inner.get(name, renamed.get(name, name)) for name in node.input]
        copy.output[:] = [inner.get(name, name) for name in node.output]
        yield copy


def _difference(tensor: str, other: str, energy: str) -> list[onnx.NodeProto]:
    """The energy of what two tensors differ by."""
    from onnx import helper

    return [
        *_wide(tensor, f"{energy}/first"),
        *_wide(other, f"{energy}/second"),
        helper.make_node("Sub", [f"{energy}/first", f"{energy}/second"], [f"{energy}/error"]),
        helper.make_node("ReduceSumSquare", [f"{energy}/error"], [energy], keepdims=0),
    ]


def _energy(tensor: str, energy: str) -> list[onnx.NodeProto]:
    from onnx import helper

    return [
        *_wide(tensor, f"{energy}/wide"),
        helper.make_node("ReduceSumSquare", [f"{energy}/wide"], [energy], keepdims=0),
    ]


def _wide(tensor: str, wide: str) -> list[onnx.NodeProto]:
    """In double precision, in which even masks of -1e38 have a finite energy."""
    from onnx import TensorProto, helper

    return [helper.make_node("Cast", [tensor], [wide], to=TensorProto.DOUBLE)]


def _replace(field: Any, values: Sequence[Any]) -> None:
    del field[:]
    field.extend(values)

"""Finishing touches on graphs with Q/DQ pairs, which do not change what is computed.

A quantizer writes for one runtime. What another one wants to see before it takes its INT8 kernels is
mostly a matter of form: the bias in 32 bits, an activation stored without its sign.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

_SIGN_SHIFT = 128
"""Between an int8 and the uint8 that stands for the same value."""

_LARGEST_BIAS = 2**31 - 1


class _Graph:
    """A graph with the look-ups that rewriting takes."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.made_by = {name: node for node in graph.node for name in node.output}
        self.readers = defaultdict[str, list["onnx.NodeProto"]](list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)

    def array(self, name: str) -> Array | None:
        """The value of a constant; None for what is computed."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def add_constant(self, name: str, array: Array) -> str:
        """Adds a constant under ``name``, or where that is taken under one like it."""
        from onnx import numpy_helper

        while name in self.constants or name in self.made_by:
            name += "_"
        tensor = numpy_helper.from_array(array, name)
        self.graph.initializer.append(tensor)
        self.constants[name] = tensor
        return name

    def clear(self) -> None:
        """Removes constants that nothing reads any more, and what is noted on their shapes."""
        read = _read(self.graph)
        unread = [tensor for tensor in self.graph.initializer if tensor.name not in read]
        gone = {tensor.name for tensor in unread}
        for tensor in unread:
            self.graph.initializer.remove(tensor)
        for value in [value for value in self.graph.value_info if value.name in gone]:
            self.graph.value_info.remove(value)


def _read(graph: onnx.GraphProto) -> set[str]:
    """What is read in the graph, by its branches and loop bodies too, or is its output."""
    names = {name for node in graph.node for name in node.input}
    names |= {output.name for output in graph.output}
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return names.union(*(_read(one) for one in inner))


def repeat_behind_flatten(model: onnx.ModelProto) -> int:
    """Repeats the Q/DQ pair in front of a Flatten behind it, in place.

    The values are on the grid of that pair already, so this changes none. ONNX Runtime moves the
    pair behind what else only moves values, and reads the product that follows in INT8.

    Returns:
        How many pairs were added.
    """
    from onnx import helper

    graph = _Graph(model.graph)
    done = 0
    for position, node in enumerate(list(model.graph.node)):
        before = graph.made_by.get(node.input[0]) if node.op_type == "Flatten" else None
        if before is None or before.op_type != DEQUANTIZE or len(before.input) < 3:
            continue
        scale = graph.array(before.input[1])
        readers = graph.readers[node.output[0]]
        if scale is None or scale.size != 1 or not readers:
            continue
        name = node.output[0]
        parameters = list(before.input)[1:]
        quantized, dequantized = f"{name}_quantized", f"{name}_dequantized"
        for reader in readers:
            reader.input[:] = [dequantized if one == name else one for one in reader.input]
        pair = [
            helper.make_node(QUANTIZE, [name, *parameters], [quantized], f"{name}_{QUANTIZE}"),
            helper.make_node(
                DEQUANTIZE, [quantized, *parameters], [dequantized], f"{name}_{DEQUANTIZE}"
            ),
        ]
        for i, one in enumerate(pair):
            model.graph.node.insert(position + 1 + 2 * done + i, one)
        done += 1
    return done


class _StoredBias(NamedTuple):
    """A bias in 32 bits and its scale: one number, or one for each channel."""

    integers: Array
    scale: Array


def quantize_biases(model: onnx.ModelProto) -> int:
    """Stores the biases of 8-bit convolutions and Gemms in int32, in place.

    The scale is the product of those of input and weight, which the sum has that the bias is added
    to, so this rounds by at most half a step of that sum (Jacob et al., "Quantization and Training
    of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018, section 2.4).

    Returns:
        How many biases were stored so.
    """
    graph = _Graph(model.graph)
    done = 0
    for position, node in enumerate(list(model.graph.node)):
        stored = _stored_bias(node, graph)
        if stored is not None:
            model.graph.node.insert(position + done, _dequantized_bias(node, stored, graph))
            done += 1
    graph.clear()
    return done


def _stored_bias(node: onnx.NodeProto, graph: _Graph) -> _StoredBias | None:
    """The bias of a product of two dequantized factors; None where it must stay as it is."""
    import numpy as np

    factors = _dequantized_factors(node, graph)
    bias = graph.array(node.input[2]) if factors else None
    if not factors or bias is None or bias.ndim != 1 or bias.dtype != np.float32:
        return None
    of_input, of_weight = (graph.array(one.input[1]) for one in factors)
    if of_input is None or of_weight is None or of_input.size != 1:
        return None
    if of_weight.size != 1 and not (
        of_weight.shape == bias.shape and _is_by_output_channel(node, factors[1])
    ):
        return None
    scale = np.asarray(of_input.reshape(()) * of_weight.squeeze(), np.float32)
    integers = np.rint(bias.astype(np.float64) / scale)
    if not (np.abs(integers) <= _LARGEST_BIAS).all():  # nor is a NaN, where the scale is 0
        return None
    return _StoredBias(integers.astype(np.int32), scale)


def _dequantized_factors(node: onnx.NodeProto, graph: _Graph) -> list[onnx.NodeProto]:
    """What dequantizes input and weight of a product with a bias; empty for any other node."""
    if node.op_type not in {"Conv", "ConvTranspose", "Gemm"} or len(node.input) < 3:
        return []
    made = [graph.made_by[name] for name in node.input[:2] if name in graph.made_by]
    dequantize = [one for one in made if one.op_type == DEQUANTIZE]
    return dequantize if len(dequantize) == 2 and _adds_it_as_it_is(node) else []


def _adds_it_as_it_is(node: onnx.NodeProto) -> bool:
    """Whether a Gemm scales neither the product nor the bias."""
    return all(a.f == 1 for a in node.attribute if a.name in {"alpha", "beta"})


def _is_by_output_channel(product: onnx.NodeProto, dequantize: onnx.NodeProto) -> bool:
    """Whether the weight has one scale for each output channel."""
    numbers = {a.name: a.i for a in product.attribute}
    if product.op_type == "ConvTranspose" and numbers.get("group", 1) != 1:
        return False
    axis = next((a.i for a in dequantize.attribute if a.name == "axis"), 1)
    if product.op_type == "Gemm":
        axis %= 2
    wanted = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0 if numbers.get("transB") else 1}
    return wanted[product.op_type] == axis


def _dequantized_bias(node: onnx.NodeProto, stored: _StoredBias, graph: _Graph) -> onnx.NodeProto:
    """Lets ``node`` read the stored bias, by the DequantizeLinear that is returned."""
    import numpy as np
    from onnx import helper

    name = node.input[2]
    integers = graph.add_constant(f"{name}_int32", stored.integers)
    scale = graph.add_constant(f"{name}_scale", stored.scale)
    zero = graph.add_constant(f"{name}_zero_point", np.zeros(stored.scale.shape, np.int32))
    node.input[2] = f"{integers}_dequantized"
    axis: dict[str, Any] = {"axis": 0} if stored.scale.ndim else {}
    return helper.make_node(
        DEQUANTIZE, [integers, scale, zero], [node.input[2]], f"{integers}_{DEQUANTIZE}", **axis
    )


def store_unsigned(model: onnx.ModelProto) -> int:
    """Stores int8 activations as uint8, with the zero point up by 128, in place.

    They stand for the same values. ONNX Runtime's kernels for x86 multiply unsigned by signed; for
    two signed factors they have none that is fast. OpenVINO 2026.1 computing in bfloat16 does not
    compile a convolution of int8 activations whose zero point is not 0 ("No suitable
    implementations"), which is what NNCF's preset ``mixed`` gives a network of convolutions.

    Returns:
        How many activations were stored so.
    """
    import numpy as np

    graph = _Graph(model.graph)
    changed = set[str]()
    for quantize, dequantize in _activations(graph):
        zero = graph.array(quantize.input[2])
        if zero is None or zero.dtype != np.int8:
            continue
        unsigned = np.asarray(zero.astype(np.int16) + _SIGN_SHIFT, np.uint8)
        name = graph.add_constant(f"{quantize.input[2]}_unsigned", unsigned)
        for node in (quantize, *dequantize):
            node.input[2] = name
        changed.add(quantize.output[0])
    for value in [value for value in model.graph.value_info if value.name in changed]:
        model.graph.value_info.remove(value)  # it says int8
    graph.clear()
    return len(changed)


def _activations(graph: _Graph) -> Iterator[tuple[onnx.NodeProto, list[onnx.NodeProto]]]:
    """Each QuantizeLinear of what is computed that only DequantizeLinear read, with these."""
    outputs = {output.name for output in graph.graph.output}
    for node in graph.graph.node:
        if node.op_type != QUANTIZE or node.input[0] in graph.constants or len(node.input) < 3:
            continue
        readers = graph.readers[node.output[0]]
        alike = all(
            one.op_type == DEQUANTIZE and list(one.input)[2:] == list(node.input)[2:]
            for one in readers
        )
        if readers and alike and node.output[0] not in outputs:
            yield node, readers

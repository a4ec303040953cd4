"""The reasons why Q/DQ stay, in words: what was seen, and what would change it."""

from __future__ import annotations

from mlopt.types.diagnosis import Reason

BECAUSE: dict[Reason, str] = {
    "model_input": "the model's input is float, and is quantized once",
    "model_output": "the model's output is float, and is dequantized once",
    "optimization_level": "Q/DQ are fused from the optimization level 'extended' on: set "
    "graph_optimization to all",
    "no_int8_kernel": "{operator} has no INT8 kernel that Q/DQ fuse into: it computes in float between "
    "them",
    "float_weight": "the weight of {operator}, or its other constant, is float: quantize it, or leave "
    "the node to float as a whole (exclude)",
    "float_input": "an input of {operator} is float: quantize all of its inputs, or none",
    "float_bias": "the bias of {operator} is float: quantize it to INT32 with the scale of input times "
    "weight",
    "output_not_quantized": "the output of {operator} is not quantized, and its INT8 kernel gives "
    "INT8 only: put Q/DQ behind it",
    "float_output": "{operator} multiplies in INT8 and gives float, which is quantized again: put Q/DQ "
    "right behind the product",
    "output_read_twice": "the output of {operator} goes to more than one QuantizeLinear, or is read in "
    "float as well: let one Q/DQ pair feed all readers",
    "activation_between": "a Relu or Clip stands between Q/DQ and cuts where their range does not "
    "end: calibrate behind it, with the zero point at the end of the range",
    "types_differ": "the types around {operator} differ: one of them for all activations, and signed "
    "weights where activations are signed",
    "signed_activations": "activations of {operator} are INT8, and the x86 kernels multiply UINT8 "
    "by INT8: quantize activations to uint8",
    "other_bits": "{operator} is quantized to other than 8 bits, which the CPU kernels do not multiply",
    "scale_not_constant": "a scale of {operator} is computed at run time: calibrate to constants",
    "scale_not_scalar": "activations of {operator} have a scale for each channel: one for the tensor",
    "scales_differ": "the scale before differs from the one behind, so values are converted from one "
    "to the other: give both sides the same scale",
    "operator_version": "{operator} of this operator set takes no 8 bits: export with opset 13 or newer",
    "unknown": "no rule is known that would keep {operator} in float",
}
"""With ``{operator}`` for the operator's type."""

"""Which operators multiply, which of them in 8 bits, and what has a kernel for 8 bits.

The rules are those of ONNX Runtime's CPU provider: its QDQ selectors
(``core/optimizer/qdq_transformer/selectors_actions``) and its own operators.
"""

from __future__ import annotations

from mlopt.types.diagnosis import Arithmetic

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

CONVOLUTIONS = frozenset(
    {"Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv", "ConvTranspose"}
)
MATRIX_PRODUCTS = frozenset(
    {
        "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "TransposeMatMul", "QLinearMatMul", "QGemm",
        "MatMulInteger", "MatMulInteger16", "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
        "MatMulNBits",
    }
)  # fmt: skip
ATTENTIONS = frozenset({"Attention", "QAttention", "MultiHeadAttention"})
RECURRENT = frozenset({"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"})
PRODUCTS = CONVOLUTIONS | MATRIX_PRODUCTS | ATTENTIONS | RECURRENT

INTEGER_PRODUCTS = frozenset(
    {
        "ConvInteger", "QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger",
        "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QAttention", "DynamicQuantizeLSTM",
    }
)  # fmt: skip

WITH_INT8_KERNEL = {
    "conv": frozenset({"Conv"}),
    "matmul": frozenset({"MatMul"}),
    "gemm": frozenset({"Gemm"}),
    "unary": frozenset({"AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Softmax"}),
    "binary": frozenset({"Add", "Mul"}),
    "variadic": frozenset({"Concat"}),
    "where": frozenset({"Where"}),
    "move": frozenset(
        {
            "ArgMax", "Expand", "Flatten", "Gather", "GatherElements", "MaxPool", "ReduceMax",
            "ReduceMin", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile", "Transpose",
            "Unsqueeze",
        }
    ),
}  # fmt: skip
"""What ONNX Runtime fuses with the Q/DQ around it, by the rule that it follows."""

OUTSIDE_OF_QDQ = frozenset({"Attention", "LSTM", "EmbedLayerNormalization"})
"""Operators whose INT8 form a quantizer puts in by itself, without Q/DQ."""

ABSORBED = frozenset({"Relu", "Clip"})
"""Operators that a following QuantizeLinear makes superfluous when its range ends where they cut."""

FUSED = {
    "FusedConv": "Conv", "NhwcFusedConv": "Conv", "FusedMatMul": "MatMul", "FusedGemm": "Gemm",
    "NhwcMaxPool": "MaxPool",
}  # fmt: skip
"""Operators of the runtime's own to that of the file which they came of."""

LAYOUT = frozenset({"ReorderInput", "ReorderOutput"})
"""What the layout optimizations put around convolutions."""

BOOKKEEPING = frozenset(
    {"Cast", "Constant", "ConstantOfShape", "Equal", "Identity", "Range", "Shape", "Size"}
)
"""Operators that compute shapes and types rather than values."""


def rule_of(operator: str) -> str | None:
    """The rule that fuses ``operator`` with its Q/DQ; None: none does."""
    base = FUSED.get(operator, operator)
    return next((rule for rule, known in WITH_INT8_KERNEL.items() if base in known), None)


def arithmetic_of(operator: str) -> Arithmetic | None:
    """What a product multiplies; None for what is no product."""
    if operator not in PRODUCTS:
        return None
    return "int8" if operator in INTEGER_PRODUCTS else "float"


def is_int8(operator: str) -> bool:
    """Whether the runtime executes it on 8-bit values."""
    return operator in INTEGER_PRODUCTS or operator.startswith("QLinear")


def has_int8_kernel(operator: str) -> bool:
    """Whether there is an INT8 form of a float operator on the CPU provider."""
    base = FUSED.get(operator, operator)
    return rule_of(base) is not None or base in ABSORBED or base in OUTSIDE_OF_QDQ

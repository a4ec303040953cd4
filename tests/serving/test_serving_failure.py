"""What is told of a failure of ONNX Runtime or one of its providers."""

from __future__ import annotations

import pytest

from mlopt.serving.failure import cause_of

OF_OPENVINO = """[ONNXRuntimeError] : 11 : EP_FAIL : Exception from src/inference/src/cpp/core.cpp:117:
Exception from src/inference/src/dev/plugin.cpp:54:
Check '!implementations.empty()' failed at src/plugins/intel_cpu/src/executor_factory.hpp:117:
No suitable implementations.This may indicate that the memory descriptors are not compatible.

"""

NOT_CONVERTED = """Exception from src/inference/src/cpp/core.cpp:84:
Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:
FrontEnd API failed with OpConversionFailure:
Model wasn't fully converted.
Summary:
-- No conversion rule found for operations: com.microsoft.Foo

"""


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (NOT_CONVERTED, "No conversion rule found for operations: com.microsoft.Foo"),
        (
            OF_OPENVINO,
            "No suitable implementations.This may indicate that the memory descriptors are not "
            "compatible.",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model failed:Protobuf parsing failed.",
            "Load model failed:Protobuf parsing failed.",
        ),
        ("no provider is called 'x'\nat all", "no provider is called 'x'"),
        ("Exception from a.cpp:1:", "Exception from a.cpp:1:"),
        ("", "RuntimeError"),
    ],
)
def test_the_line_that_says_what_went_wrong_is_told(message: str, cause: str) -> None:
    assert cause_of(RuntimeError(message)) == cause


def test_a_long_line_is_cut() -> None:
    assert len(cause_of(RuntimeError("x" * 5000))) == 300

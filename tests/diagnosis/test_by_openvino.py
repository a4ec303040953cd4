"""The model as OpenVINO runs it by itself: its kernels, and what they multiply in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_execution import IMAGE, artifact, quantized
from tiny_graphs import Tiny

from mlopt.diagnosis import Subject, diagnose
from mlopt.diagnosis.by_openvino import arithmetic_of, execute_openvino
from mlopt.diagnosis.costs import node_costs, operator_costs
from mlopt.diagnosis.execution import MOST
from mlopt.errors import ModelError
from mlopt.providers.openvino import OpenVinoProvider
from mlopt.runners.openvino import OpenVinoRunner

pytest.importorskip("openvino", reason="needs the extra openvino")


@pytest.mark.parametrize(
    ("operator", "kernel", "arithmetic"),
    [
        ("Convolution", "brgconv_avx512_1x1_I8", "int8"),
        ("Convolution", "brgconv_avx512_f32", "float"),
        ("FullyConnected", "brgemm_avx512_amx_BF16", "float"),
        ("MatMul", "brgemm_avx512_u8", "int8"),
        ("Reorder", "jit_uni_I8", None),
    ],
)
def test_the_name_of_a_kernel_says_what_it_multiplies_in(
    operator: str, kernel: str, arithmetic: str | None
) -> None:
    assert arithmetic_of(operator, kernel) == arithmetic


def test_every_node_that_ran_has_a_time_and_its_kernel(tmp_path: Path) -> None:
    model = artifact(quantized(Tiny()), tmp_path)
    inputs = [{"x": np.zeros(IMAGE, np.float32)}]
    ran = execute_openvino(model, OpenVinoRunner(intra_op_threads=1), OpenVinoProvider(), inputs)
    costs = node_costs(ran.trace, ran.graph)
    (product,) = [one for one in costs if one.arithmetic is not None]

    assert product.operator.startswith("Convolution (")
    assert ran.runs == len(ran.trace.run_ms) <= MOST
    assert sum(one.nodes for one in operator_costs(costs)) == len(costs)
    assert sum(one.share for one in costs) == pytest.approx(1)


def test_an_input_that_the_graph_does_not_use_is_no_hindrance(tmp_path: Path) -> None:
    t = Tiny()
    t.input("unused", (1, 2))
    inputs = [{"x": np.zeros(IMAGE, np.float32), "unused": np.zeros((1, 2), np.float32)}]
    model = artifact(quantized(t), tmp_path)
    assert execute_openvino(model, OpenVinoRunner(), OpenVinoProvider(), inputs).trace.kernels


def test_a_model_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    model = artifact(quantized(Tiny()), tmp_path)
    with pytest.raises(
        ModelError, match=r"OpenVINO cannot (load model\.onnx on openvino|run the model): "
    ) as caught:
        execute_openvino(
            model, OpenVinoRunner(), OpenVinoProvider(), [{"x": np.zeros((1, 1), np.float32)}]
        )
    assert "\n" not in str(caught.value)


def test_a_diagnosis_names_the_kernels_and_counts_the_products_of_the_file(tmp_path: Path) -> None:
    subject = Subject(
        artifact=artifact(quantized(Tiny()), tmp_path),
        runner="openvino",
        settings={"intra_op_threads": 1, "static_shapes": True},
        provider="openvino",
        inputs=[{"x": np.ones(IMAGE, np.float32)}],
        batch_size=1,
        synthetic=True,
    )
    found = diagnose(subject, tmp_path)
    assert found.macs == {"int8": 6 * 64 * 4 * 9}
    assert found.nodes_ms > 0
    assert found.runner == "openvino"
    assert found.peaks.int8_gmacs_per_s
    assert any("shown with the kernel that runs them" in note for note in found.notes)

"""Which layers quantization hurts, found where it happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pass_bench import Arrays, Bench, images
from planted import LAYERS, answers, artifact, residual_graph

from mlopt.errors import BuildError
from mlopt.passes._onnx import name_nodes, preprocess
from mlopt.passes._sensitivity import MOST_DB, Layer, Sensitivity, decibels
from mlopt.passes._slices import cut, owners
from mlopt.types.artifact import Artifact


def batches() -> Iterator[Arrays]:
    for start in (0, 16):
        yield {"image": images(3, 32)[start : start + 16]}


def compared(bench: Bench, source: Artifact, quantized: Artifact) -> Sensitivity:
    scratch = bench.new_directory()
    preprocess(source.main_file, scratch / "prepared.onnx")
    return Sensitivity(scratch / "prepared.onnx", quantized.main_file, scratch)


def ranked(bench: Bench, source: Artifact, **options: object) -> list[Layer]:
    quantized = bench.apply("int8_static", source, **options)
    return compared(bench, source, quantized).rank(batches())


@pytest.mark.parametrize("wide", ["second", "third"])
def test_the_layer_whose_weights_are_too_wide_is_the_worst_and_the_next_one_is_not(
    bench: Bench, wide: str
) -> None:
    worst, *rest = ranked(bench, artifact(bench, residual_graph(wide=wide)))
    assert wide in worst.nodes
    assert worst.operator == "Conv"
    assert worst.sqnr_db < 10
    assert all(one.sqnr_db > 25 for one in rest)


def test_a_layer_is_a_product_with_what_is_computed_from_it(bench: Bench) -> None:
    found = ranked(bench, artifact(bench, residual_graph()))
    by_product = {layer.nodes[0]: set(layer.nodes) for layer in found}
    assert by_product.keys() == {nodes[0] for nodes in LAYERS}
    for nodes in LAYERS:
        assert set(nodes) <= by_product[nodes[0]]
    assert sum(len(layer.nodes) for layer in found) == len(set().union(*by_product.values()))


def test_noise_counts_for_what_puts_a_tensor_out_and_for_what_reads_it(bench: Bench) -> None:
    """One channel of an activation is far away from the others, and widens their steps."""
    model = residual_graph()
    bias = next(t for t in model.graph.initializer if t.name == "b_second")
    far = numpy_helper.to_array(bias).copy()
    far[0] = 1e4
    bias.CopyFrom(numpy_helper.from_array(far, "b_second"))
    weight = next(t for t in model.graph.initializer if t.name == "w_third")
    unread = numpy_helper.to_array(weight).copy()
    unread[:, 0] = 0
    weight.CopyFrom(numpy_helper.from_array(unread, "w_third"))
    # The far channel itself is exact; what else there is in that tensor is lost.
    found = {layer.nodes[0]: layer.sqnr_db for layer in ranked(bench, artifact(bench, model))}
    assert found["third"] < 5
    assert found["second"] == pytest.approx(found["third"])
    assert found["first"] > 25
    assert found["head"] > 25


def test_the_quantizer_leaves_in_float_what_the_ranking_names(bench: Bench) -> None:
    source = artifact(bench, residual_graph(wide="second"))
    worst = ranked(bench, source)[0]
    image = images(5, 64)
    wanted = answers(source.main_file, image)
    errors = []
    for exclude in ((), worst.nodes):
        quantized = bench.apply("int8_static", source, exclude=exclude)
        left = quantized.manifest.lineage[-1].facts.get("left_in_float", {})
        assert left == ({"Conv": 1} if exclude else {})
        errors.append(np.square(answers(quantized.main_file, image) - wanted).mean())
    assert errors[1] < errors[0] / 20


def test_nodes_without_a_name_get_one_that_the_quantizer_understands(bench: Bench) -> None:
    source = artifact(bench, residual_graph(wide="second", named=False))
    worst = ranked(bench, source)[0]
    assert all(worst.nodes)
    quantized = bench.apply("int8_static", source, exclude=worst.nodes)
    assert quantized.manifest.lineage[-1].facts["left_in_float"] == {"Conv": 1}


def test_the_dynamic_quantizer_has_no_pairs_and_is_ranked_all_the_same(bench: Bench) -> None:
    source = artifact(bench, residual_graph())
    quantized = bench.apply("int8_dynamic", source)
    (layer,) = compared(bench, source, quantized).rank(batches())
    assert layer.nodes == ("head",)
    assert 20 < layer.sqnr_db < 80
    with pytest.raises(BuildError, match="nothing in the graph can be quantized"):
        bench.apply("int8_dynamic", source, exclude=layer.nodes)


def test_one_layer_in_8_bits_changes_the_answers_by_its_own_noise_alone(bench: Bench) -> None:
    source = artifact(bench, residual_graph(wide="second"))
    quantized = bench.apply("int8_static", source)
    sensitivity = compared(bench, source, quantized)
    layers = sensitivity.rank(batches())
    wanted = answers(source.main_file, images(3, 32))

    def energy(layer: Layer | None) -> float:
        found = [one["logits"] for one in sensitivity.answers(layer, batches())]
        return float(np.square(np.concatenate(found) - wanted).sum())

    assert energy(None) < 1e-6
    alone = [energy(layer) for layer in layers]
    assert alone[0] > 20 * max(alone[1:])
    assert min(alone) > 1e-6


def test_a_graph_that_shares_no_names_is_refused(bench: Bench) -> None:
    source = artifact(bench, residual_graph())
    quantized = bench.apply("int8_static", source)
    other = onnx.load(str(source.main_file))
    for node in other.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"other-{n}" if len(n) == 1 else n for n in names]
    other.graph.node[-1].output[0] = other.graph.output[0].name = "answer"
    path = bench.new_directory() / "other.onnx"
    onnx.save(other, str(path))
    with pytest.raises(BuildError, match="no tensor"):
        Sensitivity(path, quantized.main_file, path.parent)


def test_where_paths_meet_a_node_belongs_to_the_last_product() -> None:
    names = [node.name for node in residual_graph().graph.node]
    found = owners(residual_graph().graph)
    assert names[found[names.index("add")]] == "third"
    assert names[found[names.index("flatten")]] == "third"


def test_a_relu_that_became_the_end_of_a_range_is_part_of_its_slice(bench: Bench) -> None:
    source = artifact(bench, residual_graph())
    quantized = onnx.load(str(bench.apply("int8_static", source).main_file))
    floats = onnx.load(str(source.main_file))
    assert "relu" not in {node.name for node in quantized.graph.node}
    part = next(one for one in cut(floats.graph, quantized.graph) if one.tensor == "b")
    assert [floats.graph.node[i].name for i in part.replaces] == ["first", "relu"]
    assert part.nodes[-1].op_type == "DequantizeLinear"


@pytest.mark.parametrize(
    ("noise", "signal", "expected"),
    [
        (1.0, 100.0, 20.0),
        (0.0, 1.0, MOST_DB),
        (0.0, 0.0, MOST_DB),
        (1.0, 0.0, -MOST_DB),
        (float("nan"), 1.0, -MOST_DB),
        (float("nan"), float("inf"), MOST_DB),
    ],
)
def test_a_ratio_in_decibels_is_finite(noise: float, signal: float, expected: float) -> None:
    assert decibels(noise, signal) == pytest.approx(expected)


def test_names_are_given_where_they_lack_or_are_taken_and_kept_elsewhere(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="one"),
        helper.make_node("Relu", ["a"], ["b"], name="one"),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"], name="Relu_2"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", "y")]
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:])), str(path))
    for _ in range(2):
        name_nodes(path)
        names = [node.name for node in onnx.load(str(path)).graph.node]
        assert names == ["one", "Relu_1", "Relu_2_", "Relu_2"]

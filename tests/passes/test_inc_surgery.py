"""The surgery on a graph that neural-compressor quantized: exact but for the Q/DQ that it adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from inc_graphs import Builder, answer, attention, fused, linear_layer, residual_block, values

from mlopt.errors import BuildError
from mlopt.passes._inc.complete import complete, missing_places
from mlopt.passes._inc.exclude import keep_in_float
from mlopt.passes._inc.fold import fold_weights, reduced, remove_clips, rounded
from mlopt.passes._inc.graph import Grid
from mlopt.passes._inc.ranges import Range, grid_for, observe
from mlopt.passes._qdq import quantize_biases

IMAGES = values(3, 4, 6, 6, seed=9)


def folded(model: ir.Model) -> ir.Model:
    remove_clips(model)
    fold_weights(model, reduce_range=False)
    return model


def types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("make", [residual_block, linear_layer])
def test_without_clips_and_with_folded_weights_the_answers_are_the_same_to_the_bit(make) -> None:
    model = make()
    shape = (3, *model.graph.inputs[0].shape[1:])
    before = answer(model, values(*shape, seed=9))
    weights = types(model).count("Clip")

    assert remove_clips(model) == weights
    assert fold_weights(model, reduce_range=False) == weights
    assert np.array_equal(answer(model, values(*shape, seed=9)), before)
    assert not {"Clip", "Transpose"} & set(types(model))
    kinds = {value.const_value.dtype for value in model.graph.initializers.values()}
    large = [v for v in model.graph.initializers.values() if len(v.shape) > 1]
    assert {value.const_value.dtype for value in large} == {ir.DataType.INT8}
    assert ir.DataType.FLOAT in kinds  # scales and biases


def test_a_clip_that_cuts_something_off_stays() -> None:
    build = Builder()
    build.constants["half"] = np.int8(63)
    weight = build.weight("w", values(4, 8), upper="half")
    build.node("Gemm", [build.rounded("x", 0.03, 128), weight], "y", transB=1)
    model = build.model(["batch", 8], "y")
    before = answer(model, values(2, 8))

    assert remove_clips(model) == 0
    assert fold_weights(model, reduce_range=False) == 0
    assert np.array_equal(answer(model, values(2, 8)), before)


def test_a_weight_that_two_nodes_share_is_stored_once() -> None:
    build = Builder()
    weight = build.weight("w", values(8, 8))
    build.node("Gemm", [build.rounded("x", 0.03, 128), weight], "once", transB=1)
    build.node("Gemm", [build.rounded("once", 0.1, 128), weight], "y", transB=1)
    model = build.model(["batch", 8], "y")

    remove_clips(model)
    assert fold_weights(model, reduce_range=False) == 1


def test_weights_of_seven_bits_reach_as_far_as_those_of_eight() -> None:
    weight = values(4, 8)
    grid = Grid(np.abs(weight).max(axis=1) / np.float32(127.5), np.zeros(4, np.int8))

    fewer = reduced(grid)
    integers = rounded(weight, fewer, limit=64)

    assert np.abs(integers.astype(int)).max(axis=1).tolist() == [64] * 4
    back = integers * fewer.along(2).scale
    assert np.abs(back - weight).max() <= fewer.scale.max() / 2 * 1.001


def test_values_are_rounded_half_to_even_and_saturate() -> None:
    grid = Grid(np.float32(1.0), np.uint8(1))

    assert rounded(np.float32([-5, 0.5, 1.5, 254, 900]), grid).tolist() == [0, 1, 3, 255, 255]


def test_a_convolution_before_a_residual_and_the_sum_itself_lack_their_quantization() -> None:
    places = missing_places(folded(residual_block()), activations=False, symmetric=False)

    assert {value.name: quantizer for value, quantizer in places.items()} == {
        "conv2": None,
        "y": None,
    }


def test_with_symmetric_activations_a_relu_is_not_taken_for_a_part_of_the_rounding() -> None:
    places = missing_places(folded(residual_block()), activations=False, symmetric=True)

    assert [value.name for value in places] == ["conv2", "sum"]


def test_where_a_scale_is_there_it_is_used_again() -> None:
    build = Builder()
    first = build.weight("w", values(4, 4, 3, 3))
    build.node("Conv", [build.rounded("x", 0.03, 128), first], "conv", pads=[1] * 4)
    build.rounded("conv", 0.2, 128)
    build.node("Add", ["conv", "x"], "sum")  # reads both in float
    build.node("Add", ["sum", "conv_d"], "y")
    model = folded(build.model(["batch", 4, 6, 6], "y"))

    places = missing_places(model, activations=False, symmetric=False)
    known = {value.name: quantizer for value, quantizer in places.items()}
    assert known["conv"].name == "conv_q"
    assert known["x"].name == "x_q"
    assert known["sum"] is None
    grid = Grid(np.float32(0.2), np.uint8(128))
    assert complete(model, places, {"sum": grid, "y": grid}) == (2, 2)
    sums = [node for node in model.graph if node.op_type == "Add"]
    read = {value.producer().op_type for node in sums for value in node.inputs}
    assert read == {"DequantizeLinear"}


def test_products_of_activations_are_quantized_only_when_asked() -> None:
    model = attention()

    assert not missing_places(model, activations=False, symmetric=False)
    asked = missing_places(model, activations=True, symmetric=False)
    assert {value.name for value in asked} == {"turned", "x", "shares", "values"}


def test_a_completed_residual_block_runs_in_int8_alone(tmp_path: Path) -> None:
    model = folded(residual_block())
    before = answer(model, IMAGES)
    places = missing_places(model, activations=False, symmetric=False)
    names = [value.name for value in places]
    ranges = observe(ir.to_proto(model), names, [{"x": IMAGES}], tmp_path / "observed.onnx")
    grids = {name: grid_for(seen, "uint8", symmetric=False) for name, seen in ranges.items()}

    assert complete(model, places, grids) == (2, 0)
    assert [output.name for output in model.graph.outputs] == ["y"]
    rounding = float(sum(grid.scale for grid in grids.values()))
    assert 0 < np.abs(answer(model, IMAGES) - before).max() <= rounding
    proto = ir.to_proto(model)
    assert quantize_biases(proto) == 2
    found = fused(proto.SerializeToString(), tmp_path)
    assert found["QLinearConv"] == 2
    assert found["QLinearAdd"] == 1
    assert not {"Conv", "FusedConv", "Add", "Relu"} & set(found)


def test_ranges_are_those_of_all_batches_and_hold_zero(tmp_path: Path) -> None:
    model = ir.to_proto(residual_block())
    batches = [{"x": IMAGES[:1]}, {"x": IMAGES[1:]}]

    ranges = observe(model, ["relu1", "conv2"], batches, tmp_path / "observed.onnx")

    assert ranges["relu1"].low == 0
    assert ranges["conv2"].low < 0 < ranges["conv2"].high
    (last,) = observe(
        ir.to_proto(residual_block()), ["conv2"], batches[1:], tmp_path / "o"
    ).values()
    assert ranges["conv2"].low <= last.low
    assert ranges["conv2"].high >= last.high


@pytest.mark.parametrize(
    ("kind", "symmetric", "zero_point", "scale"),
    [
        ("uint8", False, 51, 5 / 255),
        ("int8", False, -77, 5 / 255),
        ("uint8", True, 128, 4 / 127.5),
        ("int8", True, 0, 4 / 127.5),
    ],
)
def test_a_grid_holds_the_range_and_zero(kind, symmetric, zero_point, scale) -> None:
    grid = grid_for(Range(-1.0, 4.0), kind, symmetric)

    assert grid.zero_point == zero_point
    assert grid.zero_point.dtype == kind
    assert grid.scale == pytest.approx(scale)


def test_an_activation_that_is_always_zero_has_a_scale() -> None:
    assert grid_for(Range(0.0, 0.0), "uint8", symmetric=False).scale > 0


def test_an_excluded_node_reads_what_was_there_before_quantization() -> None:
    model = residual_block()

    keep_in_float(model, ["conv2"])
    folded(model)

    (node,) = (node for node in model.graph if node.name == "conv2")
    assert [value.name for value in node.inputs] == ["relu1", "w2", "b2"]
    assert "conv2" not in {v.name for v in missing_places(model, False, False)}


def test_an_excluded_linear_layer_keeps_its_float_weight() -> None:
    model = linear_layer()

    keep_in_float(model, ["y"])

    assert types(model) == ["Transpose", "MatMul"]


def test_an_excluded_node_that_is_not_there_is_named() -> None:
    with pytest.raises(BuildError, match=r"the graph has no node 'conv3'. Did you mean 'conv[12]'"):
        keep_in_float(residual_block(), ["conv3"])

"""Reading mlopt.yaml: what may be left out, and what stands for what."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from mlopt.project import Project, load_project
from mlopt.project.schema import json_schema
from mlopt.sources.data.function import FunctionData
from mlopt.types.budget import BudgetLine
from mlopt.types.tensors import TensorSpec


def test_a_project_is_found_by_its_directory_and_by_its_file(project_dir):
    directory = project_dir()
    assert load_project(directory) == load_project(directory / "mlopt.yaml")
    assert load_project(directory).directory == directory.resolve()


def test_a_project_file_may_have_another_name(project_dir):
    directory = project_dir()
    (directory / "edge.yaml").write_text((directory / "mlopt.yaml").read_text())
    assert load_project(directory / "edge.yaml").project.name == "tiny"


@pytest.mark.parametrize(
    ("directory", "name"),
    [("resnet.v2", "resnet.v2"), ("my model (1)", "my-model-1"), ("é", "project")],
)
def test_a_project_without_a_name_is_called_after_its_directory(directory, name, project_dir):
    assert load_project(project_dir({"name": ...}, name=directory)).project.name == name


def test_a_metric_and_a_split_may_be_given_by_their_name_alone(project_dir):
    changes = {
        "metrics": ["f1", {"name": "accuracy"}],
        "data.holdout": {"function": "data:holdout"},
    }
    project = load_project(project_dir(changes)).project
    assert [metric.name for metric in project.metrics] == ["f1", "accuracy"]
    assert project.data["selection"] == FunctionData(function="data:selection")
    assert project.data["holdout"] == FunctionData(function="data:holdout")


def test_what_is_left_out_has_its_default(project_dir):
    project = load_project(project_dir({"budget": ..., "outputs": ..., "recipes": ...})).project
    assert project.baseline.recipe == "fp32"
    assert project.providers == ("cpu",)
    assert [workload.name for workload in project.workloads] == ["batch-1"]
    assert (project.budget, project.outputs, project.recipes, project.traffic) == ((), (), (), None)


@pytest.mark.parametrize(
    ("metrics", "task"),
    [
        (["accuracy"], "classification"),
        (["mae"], "regression"),
        ([{"name": "dice", "function": "metric:dice", "direction": "higher"}], "regression"),
    ],
)
def test_the_task_is_that_of_the_first_metric(metrics, task, project_dir):
    assert load_project(project_dir({"metrics": metrics})).project.resolved_task == task


def test_a_metric_of_ones_own_may_stand_beside_a_task_that_is_stated(project_dir):
    own = {"name": "dice", "function": "metric:dice", "direction": "lower"}
    changes = {"metrics": [own, "accuracy"], "task": "classification"}
    project = load_project(project_dir(changes)).project
    assert project.resolved_task == "classification"
    assert [metric.higher_is_better for metric in project.metrics] == [False, True]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("p99<5ms", BudgetLine(quantity="p99_ms", limit=5)),
        ("P50 <= 250 us", BudgetLine(quantity="p50_ms", limit=0.25)),
        ("mean_ms <= 3", BudgetLine(quantity="mean_ms", limit=3)),
        ("cold_start <= 2 s", BudgetLine(quantity="cold_start_ms", limit=2000)),
        ("size <= 10 MB", BudgetLine(quantity="size_bytes", limit=10**7)),
        ("rss <= 1 MiB", BudgetLine(quantity="rss_bytes", limit=2**20)),
        ("p99 < 20 ms @ batch-8", BudgetLine(quantity="p99_ms", limit=20, workload="batch-8")),
    ],
)
def test_a_budget_line_is_read_in_its_unit(text, line, project_dir):
    project = load_project(project_dir({"budget": [text], "batch_sizes": [1, 8]})).project
    assert project.budget == (line,)


def test_a_fixed_batch_is_taken_when_it_is_the_one_that_is_measured(project_dir):
    changes = {"inputs.0.shape": [8, 4], "batch_sizes": [8], "budget": ["p99 <= 5 ms @ batch-8"]}
    assert load_project(project_dir(changes)).project.workloads[0].name == "batch-8"


def test_the_inputs_of_an_onnx_file_are_read_from_it(project_dir):
    shapes = {"ids": [None, "length"], "scale": ["n", 4]}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        for name, shape in shapes.items()
    ]
    nodes = [helper.make_node("Identity", ["ids"], ["y"])]
    output = helper.make_tensor_value_info("y", TensorProto.INT64, None)
    model = helper.make_model(helper.make_graph(nodes, "tiny", inputs, [output]))
    changes = {"model": {"onnx": "m.onnx"}, "inputs": ..., "outputs": ...}
    directory = project_dir(changes, files={"m.onnx": model.SerializeToString()})
    assert load_project(directory).project.inputs == (
        TensorSpec(name="ids", dtype="int64", shape=("batch", "length")),
        TensorSpec(name="scale", dtype="int64", shape=("batch", 4)),
    )


def test_a_project_survives_a_round_trip_through_the_paths_of_its_files(project_dir, monkeypatch):
    directory = project_dir()
    absolute = load_project(directory)
    monkeypatch.chdir(directory)
    assert load_project(Path()) == absolute


def test_the_json_schema_knows_every_key_and_asks_for_what_is_needed():
    schema = json_schema()
    assert set(schema["properties"]) == set(Project.model_fields)
    assert set(schema["required"]) == {"model", "data", "metrics"}
    assert schema["additionalProperties"] is False
    assert schema["properties"]["data"]["required"] == ["selection", "holdout"]

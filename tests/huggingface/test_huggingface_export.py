"""From a directory to ONNX Runtime: every task, several lengths, pruned and quantized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
import transformers
from directory_bench import Prepared
from onnx import load
from tiny_models import MAKERS, SIZES

from mlopt.errors import BuildError
from mlopt.frameworks.huggingface import task_of
from mlopt.frameworks.surgery import changes_between
from mlopt.frameworks.torch_module import (
    as_tensors,
    call_module,
    load_module,
    name_outputs,
    save_module,
)
from mlopt.pipeline.seal import carry_assets, seal
from mlopt.types.artifact import Artifact
from mlopt.types.passes import Draft
from mlopt.types.torch_model import ASSETS

Prepare = Callable[[str], Prepared]
OUTPUTS = {
    "text-classification": {"logits": ("batch", 3)},
    "token-classification": {"logits": ("batch", "sequence", 3)},
    "question-answering": {
        "start_logits": ("batch", "sequence"),
        "end_logits": ("batch", "sequence"),
    },
    "feature-extraction": {"last_hidden_state": ("batch", "sequence", 16)},
    "image-classification": {"logits": ("batch", 3)},
}


@pytest.fixture(scope="module")
def exported(
    prepared: Prepare, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Artifact]:
    """The ONNX model of each task, once for all tests."""
    made: dict[str, Artifact] = {}

    def of(task: str) -> Artifact:
        if task not in made:
            bench = prepared(task)
            made[task] = bench.apply("export_onnx", bench.artifact, tmp_path_factory.mktemp("o"))
        return made[task]

    return of


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def answers(artifact: Artifact, inputs: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    session = ort.InferenceSession(artifact.main_file, providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == [o.name for o in artifact.manifest.outputs]
    return list(session.run(None, inputs))


@pytest.mark.parametrize("task", MAKERS)
def test_a_directory_answers_in_onnx_runtime_as_in_transformers(
    task: str, prepared: Prepare, exported: Callable[[str], Artifact]
):
    bench, onnx = prepared(task), exported(task)
    assert facts(onnx)["exporter"] == "optimum"
    assert facts(onnx)["opset"] == 18
    assert {o.name: o.shape for o in onnx.manifest.outputs} == OUTPUTS[task]
    module, model = load_module(bench.artifact, bench.project)
    batch = dict(bench.snapshot().take(slice(0, 5)))
    shorter = {name: array[:3, :4] for name, array in batch.items()}
    for inputs in [batch] if task == "image-classification" else [batch, shorter]:
        with torch.inference_mode():
            found = name_outputs(call_module(module, as_tensors(inputs)), model.outputs)
        for ours, theirs in zip(answers(onnx, inputs), found.values(), strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_padding_does_not_change_an_answer(prepared: Prepare, exported: Callable[[str], Artifact]):
    snapshot = prepared("text-classification").snapshot()
    padded = {name: np.array(array) for name, array in snapshot.inputs.items()}
    (whole,) = answers(exported("text-classification"), padded)
    alone = [
        answers(exported("text-classification"), snapshot.take(slice(i, i + 1)))[0]
        for i in range(9)
    ]
    np.testing.assert_allclose(np.concatenate(alone), whole[:9], atol=1e-5)
    lengths = {snapshot.take(slice(i, i + 1))["input_ids"].shape[1] for i in range(9)}
    assert len(lengths) > 2, "texts of several lengths are read at their own"


@pytest.mark.parametrize("task", ["text-classification", "image-classification"])
@pytest.mark.parametrize("step", ["int8_static", "int8_dynamic"])
def test_an_exported_model_can_be_quantized(
    task: str, step: str, prepared: Prepare, exported: Callable[[str], Artifact], tmp_path: Path
):
    bench = prepared(task)
    quantized = bench.apply(step, exported(task), tmp_path)
    batch = bench.snapshot().take(slice(0, 64))
    (float_answers,), (int_answers,) = (answers(a, batch) for a in (exported(task), quantized))
    assert np.abs(int_answers - float_answers).max() > 0
    assert (int_answers.argmax(1) == float_answers.argmax(1)).mean() > 0.8
    assert (quantized.directory / ASSETS / "config.json").is_file()


def test_a_pruned_model_is_exported_with_the_sizes_it_has_left(prepared: Prepare, tmp_path: Path):
    bench = prepared("text-classification")
    module, model = load_module(bench.artifact, bench.project)
    untouched, _ = load_module(bench.artifact, bench.project)
    cut_first_layer(module)
    workspace = tmp_path / "pruned"
    workspace.mkdir()
    changed = model.model_copy(update={"changes": changes_between(untouched, module)})
    manifest = bench.artifact.manifest
    draft = Draft(
        main=save_module(module, changed, workspace),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
    )
    carry_assets(bench.artifact.directory, workspace)
    seal(workspace, draft, "torch", manifest.lineage, "pruned")
    onnx = bench.apply("export_onnx", Artifact.open(workspace), tmp_path)
    assert facts(onnx)["exporter"] == "optimum"
    shapes = {tuple(weight.dims) for weight in load(onnx.main_file).graph.initializer}
    assert {(16, 24), (24, 16), (16, 8), (8, 16)} <= shapes, "what is gone is gone from the file"
    batch = dict(bench.snapshot().take(slice(0, 5)))
    with torch.inference_mode():
        expected = module(**as_tensors(batch)).logits.numpy()
    np.testing.assert_allclose(answers(onnx, batch)[0], expected, atol=1e-5)
    assert np.abs(untouched(**as_tensors(batch)).logits.detach().numpy() - expected).max() > 1e-3


def cut_first_layer(module: torch.nn.Module) -> None:
    """Leaves one of two heads, and 24 of 32 neurons, as structured pruning does in place."""
    layer = module.bert.encoder.layer[0]
    attention = layer.attention.self
    for linear in (attention.query, attention.key, attention.value):
        keep(linear, rows=8)
    attention.num_attention_heads, attention.all_head_size = 1, 8
    keep(layer.attention.output.dense, columns=8)
    keep(layer.intermediate.dense, rows=24)
    keep(layer.output.dense, columns=24)


def keep(linear: torch.nn.Linear, rows: int | None = None, columns: int | None = None) -> None:
    linear.weight = torch.nn.Parameter(linear.weight[:rows, :columns].clone())
    linear.bias = torch.nn.Parameter(linear.bias[:rows].clone())
    linear.out_features, linear.in_features = linear.weight.shape


def test_outputs_have_the_names_that_the_project_gives_them(prepared: Prepare, tmp_path: Path):
    bench = prepared("question-answering")
    workspace = tmp_path / "renamed"
    workspace.mkdir()
    example = bench.snapshot().take(slice(0, 2))
    draft = bench.source.materialise(
        workspace, bench.project, bench.inputs, ("first", "last"), example
    )
    seal(workspace, draft, "torch", bench.artifact.manifest.lineage, "renamed")
    onnx = bench.apply("export_onnx", Artifact.open(workspace), tmp_path)
    assert facts(onnx)["exporter"] == "optimum"
    for name, of in (("first", "start"), ("last", "end")):
        assert name in {o.name for o in onnx.manifest.outputs}
        assert f"{of}_logits" not in {o.name for o in onnx.manifest.outputs}
    assert len(answers(onnx, example)) == 2


def test_a_module_of_transformers_that_a_factory_made_is_known_by_its_class():
    names = {
        "BertForSequenceClassification": "text-classification",
        "ViTForImageClassification": "image-classification",
        "BertModel": "feature-extraction",
    }
    for name, task in names.items():
        module = type("Own", (getattr(transformers, name),), {})(small_config(name))
        assert task_of(module, None) == task
    assert task_of(torch.nn.Linear(2, 2), None) is None


def small_config(name: str) -> Any:
    if name.startswith("ViT"):
        return transformers.ViTConfig(
            hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8
        )
    return transformers.BertConfig(**SIZES)


def test_another_exporter_may_be_asked_for(prepared: Prepare, tmp_path: Path):
    bench = prepared("token-classification")
    onnx = bench.apply("export_onnx", bench.artifact, tmp_path, exporter="torchscript")
    assert facts(onnx)["exporter"] == "torchscript"


def test_what_optimum_does_not_know_is_left_to_the_other_exporters(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mlopt.frameworks.optimum_config.onnx_config", lambda config, task: None)
    bench = prepared("text-classification")
    with pytest.raises(BuildError, match="optimum does not know how to export a 'bert'"):
        bench.apply("export_onnx", bench.artifact, tmp_path, exporter="optimum")

"""The model source ``huggingface``: what it reads, what it keeps, what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from directory_bench import Prepared
from safetensors.torch import load_file
from tiny_models import feature_extractor, text_classifier, token_classifier

from mlopt.errors import ModelError, UnavailableError
from mlopt.frameworks.torch_module import load_module
from mlopt.sources.models.huggingface import HuggingFaceModel
from mlopt.types.torch_model import ASSETS, TorchModel

Prepare = Callable[[str], Prepared]


def source(task: str = "text-classification", **options: Any) -> HuggingFaceModel:
    return HuggingFaceModel.model_validate({"huggingface": "model", "task": task, **options})


def problems(project: Path, **options: Any) -> str:
    return "; ".join(f"{key}: {message}" for key, message in source(**options).problems(project))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_classifier(tmp_path_factory.mktemp("original") / "model")


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "model")
    return tmp_path


def change_config(project: Path, **changes: Any) -> None:
    path = project / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_inputs_are_those_that_optimum_exports(prepared: Prepare):
    found = {task: prepared(task).inputs for task in ("text-classification", "question-answering")}
    assert [str(spec) for spec in found["text-classification"]] == [
        "input_ids: int64(batch, sequence)",
        "attention_mask: int64(batch, sequence)",
        "token_type_ids: int64(batch, sequence)",
    ]
    assert [spec.name for spec in found["question-answering"]] == ["input_ids", "attention_mask"]
    (pixels,) = prepared("image-classification").inputs
    assert str(pixels) == "pixel_values: float32(batch, 1, 16, 16)"


def test_the_artifact_is_rebuilt_from_its_own_files(prepared: Prepare):
    bench = prepared("text-classification")
    directory = bench.artifact.directory
    stored = TorchModel.model_validate_json(bench.artifact.main_file.read_text())
    assert stored.factory is None
    assert stored.huggingface is not None
    assert stored.outputs == ("logits",)
    assert {path.name for path in (directory / ASSETS).iterdir()} >= {
        "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
    }  # fmt: skip
    module, _ = load_module(bench.artifact, Path("nowhere"))
    assert not module.training
    theirs = load_file(bench.project / "model" / "model.safetensors")
    ours = module.state_dict()
    assert set(theirs) == set(ours)
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    facts = bench.artifact.manifest.lineage[0].facts
    assert facts["parameters"] == sum(t.numel() for t in theirs.values())
    assert facts["macs"] > 0


def test_a_pooler_that_features_do_not_need_is_left_out_and_named(prepared: Prepare):
    bench = prepared("feature-extraction")
    facts = bench.artifact.manifest.lineage[0].facts
    assert facts["unused_weights"] == ["pooler.dense.bias", "pooler.dense.weight"]
    assert [spec.name for spec in bench.artifact.manifest.outputs] == ["last_hidden_state"]


def test_weights_without_safetensors_are_read_without_running_their_code(project: Path):
    weights = project / "model" / "model.safetensors"
    torch.save(load_file(weights), project / "model" / "pytorch_model.bin")
    weights.unlink()
    assert not problems(project)
    draft = materialise(project, source())
    assert draft.outputs[0].shape == ("batch", 3)
    (project / "model" / "pytorch_model.bin").write_bytes(pickled_code())
    with pytest.raises(ModelError, match="the weights in 'model' cannot be loaded"):
        materialise(project, source())


def pickled_code() -> bytes:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return print, ("ran",)

    return pickle.dumps(Evil())


def materialise(project: Path, model: HuggingFaceModel) -> Any:
    workspace = project / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    inputs = model.declared_inputs(project) or ()
    example = {spec.name: np.ones((2, 5), np.int64) for spec in inputs}
    return model.materialise(workspace, project, inputs, (), example)


def test_the_files_that_shape_the_model_are_all_listed(project: Path):
    for name in ("README.md", "training_args.bin", "optimizer.pt"):
        (project / "model" / name).write_text("x")
    files = source().files(project)
    assert set(files.values()) == {
        f"model/{name}"
        for name in (
            "config.json", "model.safetensors", "special_tokens_map.json", "tokenizer.json",
            "tokenizer_config.json", "vocab.txt",
        )
    }  # fmt: skip
    assert "huggingface, config.json" in files


def test_the_name_of_a_hub_model_is_refused_with_the_way_to_get_it(tmp_path: Path):
    model = HuggingFaceModel.model_validate(
        {"huggingface": "google-bert/bert-base-uncased", "task": "text-classification"}
    )
    ((key, message),) = model.problems(tmp_path)
    assert key == "huggingface"
    assert "downloads nothing" in message
    assert "hf download google-bert/bert-base-uncased --local-dir bert-base-uncased" in message


def test_code_in_a_directory_runs_only_when_asked_for(project: Path):
    change_config(project, auto_map={"AutoModelForSequenceClassification": "own.Model"})
    marker = project / "ran"
    (project / "model" / "own.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "from transformers import BertForSequenceClassification as Model\n"
    )
    assert "trust_remote_code: true" in problems(project)
    assert len(list(source().problems(project))) == 1
    with pytest.raises(ModelError, match="code of its own"):
        materialise(project, source())
    assert not marker.exists()
    trusting = source(trust_remote_code=True)
    assert not list(trusting.problems(project))
    assert "huggingface, own.py" in trusting.files(project)
    assert trusting.declared_inputs(project) is None, "the code may not run before a worker does"
    assert not marker.exists()


def test_trusted_code_goes_with_the_artifact(tmp_path: Path):
    directory = text_classifier(tmp_path / "model")
    (directory / "own.py").write_text(
        "from transformers import BertForSequenceClassification\n\n\n"
        "class Model(BertForSequenceClassification):\n"
        "    def forward(self, input_ids):\n"
        "        return {'doubled': 2 * super().forward(input_ids).logits}\n"
    )
    change_config(tmp_path, auto_map={"AutoModelForSequenceClassification": "own.Model"})
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    example = {"input_ids": np.ones((2, 5), np.int64)}
    draft = source(trust_remote_code=True).materialise(workspace, tmp_path, (), (), example)
    assert draft.outputs[0].name == "doubled"
    assert (workspace / ASSETS / "own.py").is_file()


WRONG = {
    "no config": ({"config.json": None}, {}, "has no config.json"),
    "a damaged config": ({"config.json": "{"}, {}, "is no JSON"),
    "a config of something else": ({"config.json": "{}"}, {}, "has no 'model_type'"),
    "no weights": ({"model.safetensors": None}, {}, "has no weights"),
    "another task": ({}, {"task": "token-classification"}, "Say 'task: text-classification'"),
}


@pytest.mark.parametrize(("files", "options", "message"), WRONG.values(), ids=WRONG)
def test_problems_are_seen_before_anything_is_loaded(
    project: Path, files: dict[str, str | None], options: dict[str, Any], message: str
):
    for name, content in files.items():
        if content is None:
            (project / "model" / name).unlink()
        else:
            (project / "model" / name).write_text(content)
    assert message in problems(project, **options)


def test_a_model_that_was_not_trained_for_the_task_is_refused(tmp_path: Path):
    feature_extractor(tmp_path / "model")
    change_config(tmp_path, architectures=None)
    with pytest.raises(ModelError, match=r"no weights for .*classifier.*Train it"):
        materialise(tmp_path, source())


def test_damaged_weights_are_refused(project: Path):
    (project / "model" / "model.safetensors").write_bytes(b"\x10" * 40)
    with pytest.raises(ModelError, match="cannot be loaded"):
        materialise(project, source())


def test_an_unknown_kind_of_model_is_refused(project: Path):
    change_config(project, model_type="no-such-model")
    with pytest.raises(ModelError, match=r"transformers .* cannot read model/config\.json"):
        source().declared_inputs(project)


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path):
    directory = token_classifier(tmp_path / "model")
    for path in directory.iterdir():
        if path.name not in {"config.json", "model.safetensors"}:
            path.unlink()
    tokens = source("token-classification")
    with pytest.raises(
        ModelError, match=r"'model' has no tokenizer: save it there with tokenizer\."
    ):
        tokens.preprocessor(tmp_path)
    (directory / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"the tokenizer in 'model' cannot be read \(") as caught:
        tokens.preprocessor(tmp_path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "preprocessor_config.json"])
def test_code_of_a_tokenizer_or_a_processor_runs_only_when_asked_for(project: Path, name: str):
    (project / "model" / name).write_text('{"auto_map": {"AutoTokenizer": ["own.Own", null]}}')
    hint = f"'auto_map' in {name}.*trust_remote_code: true"
    assert re.search(hint, problems(project))
    with pytest.raises(ModelError, match=hint):
        source().preprocessor(project)
    assert not problems(project, trust_remote_code=True)


@pytest.mark.parametrize("library", ["transformers", "optimum.exporters.tasks"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    project: Path, library: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UnavailableError, match=r"pip install 'mlopt\[huggingface\]'"):
        source().declared_inputs(project)


def test_the_task_of_the_project_follows_from_that_of_the_model():
    assert source().task == "classification"
    assert source("image-classification").task == "classification"
    assert source("question-answering").task == "question_answering"

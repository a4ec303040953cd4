"""Whole runs of models of text: classes of tokens, spans, embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from linear_project import QUICK
from onnx import TensorProto, helper, numpy_helper

from mlopt import api
from mlopt.errors import DataError

pytestmark = pytest.mark.slow

WORDS, WIDTH, EXAMPLES, TOKENS = 500, 16, 120, 6
RNG = np.random.default_rng(0)
EMBEDDING = RNG.normal(size=(WORDS, WIDTH)).astype(np.float32)
HEAD = RNG.normal(size=(WIDTH, 4)).astype(np.float32)

TASKS: dict[str, dict[str, Any]] = {
    "token_classification": {"metrics": ["token_accuracy"], "outputs": ["logits"]},
    "question_answering": {"metrics": ["exact_match", "span_f1"], "outputs": ["start", "end"]},
    "feature_extraction": {"metrics": ["cosine_similarity"], "outputs": ["hidden"]},
}
SCORED = {
    "token_classification": (EXAMPLES, TOKENS, 4),
    "question_answering": (EXAMPLES, 2, TOKENS),
    "feature_extraction": (EXAMPLES, 4),
}


def write_model(path: Path, outputs: list[str]) -> None:
    """Embeds each token and multiplies it by a matrix; the mask takes out what is padding."""
    nodes = [
        helper.make_node("Gather", ["embedding", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["embedded", "column"], ["text"]),
    ]
    arrays = {"embedding": EMBEDDING, "head": HEAD, "last": np.array([2])}
    shape: list[str | int] = ["batch", "length"]
    if len(outputs) == 1:
        nodes.append(helper.make_node("MatMul", ["text", "head"], outputs, name="head"))
        shape.append(4)
    for i, name in enumerate(outputs if len(outputs) > 1 else ()):
        arrays[f"head_{i}"] = HEAD[:, i : i + 1]
        product = [f"product_{i}"]
        nodes.append(helper.make_node("MatMul", ["text", f"head_{i}"], product, name=f"head_{i}"))
        nodes.append(helper.make_node("Squeeze", [*product, "last"], [name]))
    graph = helper.make_graph(
        nodes,
        "text",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        [numpy_helper.from_array(a, n) for n, a in arrays.items() if n != "head" or len(shape) > 2],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def targets_of(task: str, ids: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> Any:
    """What the model answers, and so the truth; None for embeddings."""
    hidden = EMBEDDING[ids] * mask[:, :, None] @ HEAD
    if task == "token_classification":
        return np.where(mask == 1, hidden.argmax(axis=2), -100)
    if task == "question_answering":
        scores = hidden[:, :, None, 0] + hidden[:, None, :, 1]
        inside = mask[:, :, None] * mask[:, None, :] * np.triu(np.ones((TOKENS, TOKENS)))
        best = np.where(inside == 1, scores, -np.inf).reshape(len(ids), -1).argmax(axis=1)
        return np.stack(np.divmod(best, TOKENS), axis=1)
    return None


def write_project(directory: Path, task: str, **overrides: Any) -> Path:
    """A project around a model of text, with sentences of 3 to 6 tokens."""
    directory.mkdir()
    write_model(directory / "model.onnx", TASKS[task]["outputs"])
    for seed, split in enumerate(("selection", "holdout")):
        rng = np.random.default_rng(seed)
        mask = (np.arange(TOKENS) < rng.integers(3, TOKENS + 1, (EXAMPLES, 1))).astype(np.int64)
        ids = rng.integers(1, WORDS, (EXAMPLES, TOKENS)) * mask
        target = overrides.get("target", targets_of(task, ids, mask))
        columns = {} if target is None else {"target": target}
        np.savez(directory / f"{split}.npz", input_ids=ids, attention_mask=mask, **columns)
    content = {
        "name": "text",
        "model": {"onnx": "model.onnx"},
        "data": {split: {"npz": f"{split}.npz"} for split in ("selection", "holdout")},
        "metrics": [{"name": name, "max_drop": 0.2} for name in TASKS[task]["metrics"]],
        "measurement": QUICK,
        "recipes": ["fp32", "int8-dynamic"],
    }
    (directory / "mlopt.yaml").write_text(yaml.safe_dump(content))
    return directory


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_known_by_its_metric_and_measured_as_any_other(task: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", task)

    result = api.optimize(project, out=tmp_path / "reports")

    assert result.run.status == "complete"
    assert result.run.plan.task == task
    assert result.exit_code == 0
    for name in ("fp32", "int8-dynamic"):
        quality = result.run.candidate(name).selection.quality  # type: ignore[union-attr]
        assert quality is not None
        assert [m.name for m in quality.metrics] == TASKS[task]["metrics"]
        for metric in quality.metrics:
            assert metric.examples == EXAMPLES
            assert metric.baseline_value == pytest.approx(1, abs=1e-6)
            assert metric.value > 0.9
        assert (quality.flip_rate is None) == (task == "feature_extraction")
        assert quality.predictions is not None
        assert quality.predictions.shape == SCORED[task]
    has_targets = (result.run_dir / "samples" / "selection" / "targets.npz").exists()
    assert has_targets == (task != "feature_extraction")
    assert TASKS[task]["metrics"][0] in (result.run_dir / "adr.md").read_text()


@pytest.mark.parametrize(
    ("task", "target", "message"),
    [
        ("token_classification", np.full((EXAMPLES, TOKENS), 4), "the labels range from 4 to 4"),
        ("token_classification", np.full((EXAMPLES, TOKENS), -100), "every label is -100"),
        ("question_answering", np.full((EXAMPLES, 2), -1), "goes from token -1 to -1"),
        ("question_answering", None, "has no targets"),
    ],
)
def test_targets_that_are_wrong_are_refused_before_anything_is_built(
    task: str, target: Any, message: str, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project", task, target=target)
    with pytest.raises(DataError, match=message):
        api.optimize(project, out=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()

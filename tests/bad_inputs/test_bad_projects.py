"""Every way of getting mlopt.yaml wrong, and what the user is told."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mlopt.errors import ConfigError, MloptError, UnavailableError
from mlopt.pipeline.space import candidate_space
from mlopt.project import load_project

FORM = "Write it as 'p99 <= 5 ms', 'size <= 10 MB', 'p99 <= 20 ms @ batch-8' or 'throughput >= 200 /s'."
REFERENCE = "should be 'module:function', such as 'model:build' for build() in model.py"
TEXT = "should be text (put it in quotes)"
IMAGE = "{name: image, dtype: float32, shape: [batch, 1, 32, 32]}"

NOT_A_MAPPING = {
    "an empty file": (
        "",
        "mlopt.yaml should be a mapping of keys to values, and is empty.",
    ),
    "a file of comments": (
        "# nothing yet\n",
        "mlopt.yaml should be a mapping of keys to values, and is empty.",
    ),
    "a list": (
        "- name: tiny\n",
        "mlopt.yaml should be a mapping of keys to values, and is a list.",
    ),
    "a bracket left open": (
        "name: tiny\ninputs: [\n",
        "mlopt.yaml, line 3 is no valid YAML: expected the node content, but found '<stream end>'.",
    ),
    "a tab for indentation": (
        "model:\n\tfactory: model:build\n",
        "mlopt.yaml, line 2 is no valid YAML: found character '\\t' that cannot start any token.",
    ),
    "an alias of nothing": (
        "name: *tiny\n",
        "mlopt.yaml, line 1 is no valid YAML: found undefined alias 'tiny'.",
    ),
    "a tag that would run code": (
        "name: !!python/object/apply:os.getcwd []\n",
        "mlopt.yaml, line 1 is no valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.getcwd'.",
    ),
    "a date that does not exist": (
        "name: 2024-13-45\n",
        "mlopt.yaml is no valid YAML: month must be in 1..12.",
    ),
    "a list as a key": (
        "? [name]\n: tiny\n",
        "mlopt.yaml, line 1 is no valid YAML: found unhashable key.",
    ),
    "brackets without end": (
        "[" * 3000,
        "mlopt.yaml is nested too deeply. Write it in fewer levels.",
    ),
    "a null byte": (
        "name: ti\0ny\n",
        "mlopt.yaml is no valid YAML: unacceptable character #x0000: special characters are not "
        "allowed.",
    ),
    "a key that stands twice": (
        "name: tiny\nname: other\n",
        "mlopt.yaml, line 2: the key 'name' stands there twice. Keep one of them.",
    ),
    "a nested key that stands twice": (
        "model:\n  factory: model:build\n  factory: model:other\n",
        "mlopt.yaml, line 3: the key 'factory' stands there twice. Keep one of them.",
    ),
    "text in Latin-1": (
        "name: d\xe9j\xe0\n".encode("latin-1"),
        "mlopt.yaml is no text in UTF-8. Save it as UTF-8.",
    ),
}


@pytest.mark.parametrize("case", NOT_A_MAPPING)
def test_refuses_a_project_file_that_is(case, project_dir, refuses):
    text, message = NOT_A_MAPPING[case]
    with refuses(ConfigError, message):
        load_project(project_dir(text=text))


def test_says_where_it_looked_for_the_project(tmp_path: Path, refuses):
    with refuses(
        ConfigError,
        f"there is no mlopt.yaml in '{tmp_path}'. Give the directory of a project, or make one "
        "with 'mlopt init'.",
    ):
        load_project(tmp_path)


def test_says_which_project_file_is_missing(tmp_path: Path, refuses):
    with refuses(
        ConfigError,
        f"there is no other.yaml in '{tmp_path}'. Give the directory of a project, or make one "
        "with 'mlopt init'.",
    ):
        load_project(tmp_path / "other.yaml")


def test_a_project_file_that_cannot_be_read_is_no_traceback(project_dir, refuses, monkeypatch):
    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = project_dir()
    monkeypatch.setattr(Path, "read_text", denied)
    with refuses(ConfigError, "mlopt.yaml cannot be read: Permission denied."):
        load_project(path)


KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key at the top": (
        {"budgte": []},
        "mlopt.yaml: unknown key 'budgte'. Did you mean 'budget'?",
    ),
    "an unknown key in measurement": (
        {"measurement": {"lanches": 3}},
        "mlopt.yaml, measurement: unknown key 'lanches'. Did you mean 'launches'?",
    ),
    "an unknown key in limits": (
        {"limits": {"memory": 3}},
        "mlopt.yaml, limits: unknown key 'memory'. Did you mean 'memory_mb'?",
    ),
    "an unknown key in a metric": (
        {"metrics.0": {"name": "accuracy", "maxdrop": 0.1}},
        "mlopt.yaml, metrics[0]: unknown key 'maxdrop'. Did you mean 'max_drop'?",
    ),
    "an unknown key in baseline": (
        {"baseline": {"recpie": "fp32"}},
        "mlopt.yaml, baseline: unknown key 'recpie'. Did you mean 'recipe'?",
    ),
    "an unknown key in the model": (
        {"model.wieghts": "w.pt"},
        "mlopt.yaml, model: unknown key 'wieghts'. Did you mean 'weights'?",
    ),
    "an unknown key in an input": (
        {"inputs.0.shpae": [1]},
        "mlopt.yaml, inputs[0]: unknown key 'shpae'. Did you mean 'shape'?",
    ),
    "an unknown key in a split": (
        {"data.selection": {"function": "data:selection", "argument": {}}},
        "mlopt.yaml, data.selection: unknown key 'argument'. Did you mean 'arguments'?",
    ),
    "an unknown key that looks like a type": (
        {"limits[0]": 5},
        "mlopt.yaml: unknown key 'limits[0]'. Did you mean 'limits'?",
    ),
    "a number as a key": (
        {"model.arguments": {1: 2}},
        "mlopt.yaml, model.arguments: the key 1 is no text. Put it in quotes.",
    ),
    "no model": (
        {"model": ...},
        "mlopt.yaml: 'model' is missing. Add it, with one of the keys factory or huggingface or onnx.",
    ),
    "no data": (
        {"data": ...},
        "mlopt.yaml: 'data' is missing. Add it, with the splits calibration, training, selection, "
        "holdout.",
    ),
    "no metrics": ({"metrics": ...}, "mlopt.yaml: 'metrics' is missing. Add it."),
    "no weights": ({"model.weights": ...}, "mlopt.yaml, model: 'weights' is missing. Add it."),
    "an empty list of metrics": (
        {"metrics": []},
        "mlopt.yaml, metrics: is empty: give at least one.",
    ),
    "no selection": (
        {"data.selection": ...},
        "mlopt.yaml, data: the split 'selection' is missing. The choice is made on selection and "
        "proved on holdout: give both.",
    ),
    "no holdout": (
        {"data.holdout": ...},
        "mlopt.yaml, data: the split 'holdout' is missing. The choice is made on selection and "
        "proved on holdout: give both.",
    ),
    "an unknown split": (
        {"data.traning": "data:training"},
        "mlopt.yaml, data: unknown split 'traning'. Did you mean 'training'?",
    ),
}

SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "two kinds of model": (
        {"model.onnx": "model.onnx"},
        "mlopt.yaml, model: must have exactly one of the keys factory or huggingface or onnx, and has factory "
        "and onnx.",
    ),
    "a misspelt kind of model": (
        {"model": {"factroy": "model:build"}},
        "mlopt.yaml, model: must have exactly one of the keys factory or huggingface or onnx, and has factroy. "
        "Did you mean 'factory'?",
    ),
    "an empty model": (
        {"model": {}},
        "mlopt.yaml, model: must have exactly one of the keys factory or huggingface or onnx, and has none.",
    ),
    "a model that is text": (
        {"model": "model:build"},
        "mlopt.yaml, model: should be a mapping with one of the keys factory or huggingface or onnx.",
    ),
    "a factory that names no function": (
        {"model.factory": "model"},
        f"mlopt.yaml, model.factory: {REFERENCE}; found 'model'",
    ),
    "a factory that is a path": (
        {"model.factory": "src/model.py:build"},
        f"mlopt.yaml, model.factory: {REFERENCE}; found 'src/model.py:build'",
    ),
    "a factory that is a call": (
        {"model.factory": "model:build()"},
        f"mlopt.yaml, model.factory: {REFERENCE}; found 'model:build()'",
    ),
    "weights that are not there": (
        {"model.weights": "wieghts.safetensors"},
        "mlopt.yaml, model.weights: the file 'wieghts.safetensors' does not exist beside "
        "mlopt.yaml. Did you mean 'weights.safetensors'?",
    ),
    "weights in a format of which there is no file": (
        {"model.weights": "best.ckpt"},
        "mlopt.yaml, model.weights: the file 'best.ckpt' does not exist beside mlopt.yaml. "
        "Check the path.",
    ),
    "weights that are a directory": (
        {"model.weights": "."},
        "mlopt.yaml, model.weights: the file '.' is a directory beside mlopt.yaml. Check the path.",
    ),
    "weights with a name that no file can have": (
        {"model.weights": "w" * 5000},
        f"mlopt.yaml, model.weights: the file '{'w' * 200}' is no possible path beside "
        "mlopt.yaml. Check the path.",
    ),
    "an argument that is no JSON": (
        {"model.arguments": {"since": date(2024, 1, 2)}},
        "mlopt.yaml, model.arguments.since: input was not a valid JSON value; found "
        "datetime.date(2024, 1, 2)",
    ),
    "a split that names no function": (
        {"data.holdout": "holdout"},
        f"mlopt.yaml, data.holdout.function: {REFERENCE}; found 'holdout'",
    ),
    "a split that is a number": (
        {"data.holdout": 5},
        "mlopt.yaml, data.holdout: should be a mapping with one of the keys csv or function or jsonl or npz.",
    ),
    "a split of two kinds": (
        {"data.holdout": {"npz": "data.npz", "function": "data:holdout"}},
        "mlopt.yaml, data.holdout: must have exactly one of the keys csv or function or jsonl or npz, and has "
        "function and npz.",
    ),
    "an npz file that is not there": (
        {"data.holdout": {"npz": "holdout.npz"}},
        "mlopt.yaml, data.holdout.npz: the file 'holdout.npz' does not exist beside mlopt.yaml. "
        "Check the path.",
    ),
    "data that is a list": (
        {"data": ["data:selection"]},
        "mlopt.yaml, data: should map each split to its source: calibration, training, "
        "selection, holdout.",
    ),
}

SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "no inputs": ({"inputs": ...}, f"mlopt.yaml: 'inputs' is missing. List each input as {IMAGE}."),
    "an empty list of inputs": (
        {"inputs": []},
        f"mlopt.yaml: 'inputs' is missing. List each input as {IMAGE}.",
    ),
    "two inputs of one name": (
        {"inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}] * 2},
        "mlopt.yaml, inputs: x stands there twice. Rename or remove one.",
    ),
    "a dtype that does not exist": (
        {"inputs.0.dtype": "float"},
        "mlopt.yaml, inputs[0].dtype: should be 'float32', 'float16', 'float64', 'int64', "
        "'int32', 'int16', 'int8', 'uint8' or 'bool'; found 'float'",
    ),
    "a shape that is text": (
        {"inputs.0.shape": "batch, 4"},
        "mlopt.yaml, inputs[0].shape: should be a list; found 'batch, 4'",
    ),
    "half an element": (
        {"inputs.0.shape": ["batch", 1.5]},
        "mlopt.yaml, inputs[0].shape[1]: should be a valid integer, got a number with a "
        f"fractional part, or {TEXT}; found 1.5",
    ),
    "an axis of size zero": (
        {"inputs.0.shape": ["batch", 0]},
        "mlopt.yaml, inputs[0].shape: sizes must be at least 1; give a dynamic axis a name.",
    ),
    "an axis of size -1": (
        {"inputs.0.shape": ["batch", -1]},
        "mlopt.yaml, inputs[0].shape: sizes must be at least 1; give a dynamic axis a name.",
    ),
    "no axis at all": (
        {"inputs.0.shape": []},
        "mlopt.yaml, inputs[0].shape: is empty; the first axis is the batch.",
    ),
    "a first axis with another name": (
        {"inputs.0.shape": ["n", 4]},
        "mlopt.yaml, inputs[0].shape: the first axis is the batch: call it 'batch', not 'n'.",
    ),
    "a fixed batch that is not what is measured": (
        {"inputs.0.shape": [8, 4]},
        "mlopt.yaml, batch_sizes: the batch axis of 'x' is fixed at 8: set batch_sizes: [8], or "
        "call the axis 'batch'.",
    ),
    "two outputs of one name": (
        {"outputs": ["logits", "logits"]},
        "mlopt.yaml, outputs: logits stands there twice. Rename or remove one.",
    ),
    "one batch size twice": (
        {"batch_sizes": [1, 8, 8]},
        "mlopt.yaml, batch_sizes: 8 stands there twice. Rename or remove one.",
    ),
    "a batch size of zero": (
        {"batch_sizes": [0]},
        "mlopt.yaml, batch_sizes[0]: should be greater than 0; found 0",
    ),
    "no batch size": (
        {"batch_sizes": []},
        "mlopt.yaml, batch_sizes: is empty: give at least one.",
    ),
}

METRICS: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt metric": (
        {"metrics": ["acuracy"]},
        "mlopt.yaml, metrics[0]: unknown metric 'acuracy'. Did you mean 'accuracy'? For one of "
        "your own, add 'function: module:function' and 'direction'.",
    ),
    "a metric of another task": (
        {"metrics": ["accuracy", "mse"]},
        "mlopt.yaml, metrics[1]: 'mse' belongs to regression, and the task is classification.",
    ),
    "a metric that is not of the task": (
        {"task": "regression"},
        "mlopt.yaml, metrics[0]: 'accuracy' belongs to classification, and the task is regression.",
    ),
    "one metric twice": (
        {"metrics": ["accuracy", "accuracy"]},
        "mlopt.yaml, metrics: accuracy stands there twice. Rename or remove one.",
    ),
    "both kinds of margin": (
        {"metrics.0": {"name": "accuracy", "max_drop": 0.1, "max_drop_relative": 0.1}},
        "mlopt.yaml, metrics[0]: give 'max_drop' or 'max_drop_relative', not both.",
    ),
    "a direction for a metric that has one": (
        {"metrics.0.direction": "lower"},
        "mlopt.yaml, metrics[0]: 'accuracy' has a direction of its own: leave 'direction' out.",
    ),
    "a function without a direction": (
        {"metrics.0": {"name": "dice", "function": "metric:dice"}},
        "mlopt.yaml, metrics[0]: metric 'dice' needs 'direction: higher' or 'direction: lower'.",
    ),
    "a function that is no reference": (
        {"metrics.0": {"name": "dice", "function": "dice", "direction": "higher"}},
        f"mlopt.yaml, metrics[0].function: {REFERENCE}; found 'dice'",
    ),
    "a negative margin": (
        {"metrics.0.max_drop": -0.01},
        "mlopt.yaml, metrics[0].max_drop: should be greater than 0; found -0.01",
    ),
    "a relative margin of one": (
        {"metrics.0": {"name": "accuracy", "max_drop_relative": 1}},
        "mlopt.yaml, metrics[0].max_drop_relative: should be less than 1; found 1",
    ),
    "a margin in per cent": (
        {"metrics.0.max_drop": "1%"},
        "mlopt.yaml, metrics[0].max_drop: should be a valid number, unable to parse string as a "
        "number; found '1%'",
    ),
    "a metric that is a number": (
        {"metrics": [5]},
        "mlopt.yaml, metrics[0]: should be a mapping of keys to values; found 5",
    ),
    "metrics that are text": (
        {"metrics": "accuracy"},
        "mlopt.yaml, metrics: should be a list; found 'accuracy'",
    ),
    "an unknown task": (
        {"task": "segmentation"},
        "mlopt.yaml, task: should be 'classification', 'regression', 'token_classification', "
        "'question_answering' or 'feature_extraction'; found 'segmentation'",
    ),
}

BUDGETS = {
    "p98 <= 5 ms": "'p98' is no quantity of a budget. Did you mean 'p99'?",
    "speed <= 5 ms": "'speed' is no quantity of a budget. Known: cold_start, mean, p50, p90, p99, "
    "rss, size and throughput.",
    "throughput <= 5 /s": "'throughput <= 5 /s': a throughput has a lower limit: write '>' or '>='.",
    "throughput >= 5 ms": "'throughput >= 5 ms' has the unit 'ms'; throughput is given in /s, per_s, "
    "qps.",
    "throughput >= 5 /s": "'throughput >= 5 /s' needs a p99 to keep at that rate: add "
    "'p99 <= 20 ms @ batch-1' with your own limit.",
    "p99 <= 5": "'p99 <= 5' has no unit; p99 is given in us, µs, ms, s.",
    "p99 <= 5 MB": "'p99 <= 5 MB' has the unit 'MB'; p99 is given in us, µs, ms, s.",
    "size <= 5 ms": "'size <= 5 ms' has the unit 'ms'; size is given in b, kb, mb, gb, kib, mib, "
    "gib.",
    "p99 >= 5 ms": "'p99 >= 5 ms': a budget is an upper limit: write '<' or '<='.",
    "p99 == 5 ms": "'p99 == 5 ms': a budget is an upper limit: write '<' or '<='.",
    "p99 <= 0 ms": "'p99 <= 0 ms': the limit must be positive.",
    "p99 <= -5 ms": "'p99 <= -5 ms': the limit must be positive.",
    "p99 <= 1e999 ms": "'p99 <= 1e999 ms': the limit must be positive.",
    "p99 <= 5.5.5 ms": f"'p99 <= 5.5.5 ms': '5.5.5' is not a number. {FORM}",
    "p99 <= 5 ms @ batch-8": "there is no workload 'batch-8'. Add 8 to batch_sizes.",
    "p99 <= 5 ms @ server": "there is no workload 'server'. Known: batch-1.",
    "size <= 1 MB @ batch-1": "'size <= 1 MB @ batch-1': size does not depend on the workload: "
    "leave '@ ...' out.",
    "as fast as possible": f"cannot read the budget line 'as fast as possible'. {FORM}",
    "": f"cannot read the budget line ''. {FORM}",
}

REST: dict[str, tuple[dict[str, Any], str]] = {
    "a budget that is no list": (
        {"budget": "p99 <= 5 ms"},
        "mlopt.yaml, budget: should be a list; found 'p99 <= 5 ms'",
    ),
    "a budget line that is a mapping": (
        {"budget": ["size <= 1 MB", {"p99": "5 ms"}]},
        "mlopt.yaml, budget[1]: should be text such as 'p99 <= 5 ms'.",
    ),
    "no traffic at all": (
        {"traffic": {"predictions_per_day": 0}},
        "mlopt.yaml, traffic.predictions_per_day: should be greater than 0; found 0",
    ),
    "traffic that is no number": (
        {"traffic": {"predictions_per_day": float("nan")}},
        "mlopt.yaml, traffic.predictions_per_day: should be a finite number; found nan",
    ),
    "a name with a space": (
        {"name": "my model"},
        "mlopt.yaml, name: should consist of letters, digits, '_', '.' and '-', and begin with "
        "one of the first two; found 'my model'",
    ),
    "a name that YAML takes for a boolean": (
        {"name": True},
        f"mlopt.yaml, name: {TEXT}; found True",
    ),
    "no provider": ({"providers": []}, "mlopt.yaml, providers: is empty: give at least one."),
    "a recipe that is a number": (
        {"recipes": [32]},
        f"mlopt.yaml, recipes[0]: {TEXT}; found 32",
    ),
    "no launches": (
        {"measurement": {"launches": 0}},
        "mlopt.yaml, measurement.launches: must be positive, and is 0.",
    ),
    "a block of negative duration": (
        {"measurement": {"block_ms": -1}},
        "mlopt.yaml, measurement.block_ms: must be positive, and is -1.",
    ),
    "a least block above the largest": (
        {"measurement": {"min_block": 200}},
        "mlopt.yaml, measurement.min_block: is 200, more than max_block, which is 100. Lower it.",
    ),
    "a limit of no memory": (
        {"limits": {"memory_mb": 0}},
        "mlopt.yaml, limits.memory_mb: should be greater than 0; found 0",
    ),
    "a switch that is neither on nor off": (
        {"allow_fallback": "perhaps"},
        "mlopt.yaml, allow_fallback: should be a valid boolean, unable to interpret input; found "
        "'perhaps'",
    ),
}

TABLES = {**KEYS, **SOURCES, **SHAPES, **METRICS, **REST}


@pytest.mark.parametrize("case", TABLES)
def test_refuses_a_project_with(case, project_dir, refuses):
    changes, message = TABLES[case]
    with refuses(ConfigError, message):
        load_project(project_dir(changes))


@pytest.mark.parametrize("line", BUDGETS)
def test_refuses_the_budget_line(line, project_dir, refuses):
    with refuses(ConfigError, f"mlopt.yaml, budget[0]: {BUDGETS[line]}"):
        load_project(project_dir({"budget": [line]}))


def test_reports_all_mistakes_of_a_file_at_once(project_dir, refuses):
    changes = {
        "model.weights": "gone.pt",
        "data.holdout": ...,
        "inputs.0.dtype": "float",
        "metrics.0.max_drop": -1,
        "budget": ["p98 <= 5 ms", 5],
        "colour": "red",
    }
    with pytest.raises(ConfigError) as caught:
        load_project(project_dir(changes))
    places = [line.split(": ")[0] for line in str(caught.value).split("\n")]
    assert sorted(places) == [
        "mlopt.yaml",
        "mlopt.yaml, budget[0]",
        "mlopt.yaml, budget[1]",
        "mlopt.yaml, data",
        "mlopt.yaml, inputs[0].dtype",
        "mlopt.yaml, metrics[0].max_drop",
        "mlopt.yaml, model.weights",
    ]


SPACES: dict[str, tuple[dict[str, Any], type[MloptError], str]] = {
    "an unknown recipe": (
        {"recipes": ["int8-statc"]},
        ConfigError,
        "unknown recipe 'int8-statc'. Did you mean 'int8-static'?",
    ),
    "a recipe file that is not there": (
        {"recipes": ["recipes/mine.yaml"]},
        ConfigError,
        "there is no recipe file 'recipes/mine.yaml'. Check the path.",
    ),
    "an unknown baseline": (
        {"baseline": {"recipe": "fp3"}},
        ConfigError,
        "unknown recipe 'fp3'. Did you mean 'fp32'?",
    ),
    "a recipe whose split is missing": (
        {"recipes": ["int8-static"], "data.calibration": ...},
        ConfigError,
        "the recipe 'int8-static' does not apply: it needs data.calibration: add that to "
        "mlopt.yaml, or choose recipes with --recipe.",
    ),
    "a misspelt provider": (
        {"providers": ["cpuu"]},
        ConfigError,
        "unknown provider 'cpuu'. Did you mean 'cpu'?",
    ),
}


@pytest.mark.parametrize("case", SPACES)
def test_refuses_to_plan_with(case, project_dir, refuses):
    changes, kind, message = SPACES[case]
    with refuses(kind, message):
        candidate_space(load_project(project_dir(changes)))


def test_a_provider_that_this_machine_lacks_is_refused_with_what_to_install(
    project_dir, monkeypatch
):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UnavailableError) as caught:
        candidate_space(load_project(project_dir({"providers": ["cpu", "cuda"]})))
    assert str(caught.value) == (
        "provider 'cuda' is unavailable: this onnxruntime has no CUDAExecutionProvider (it has "
        "CPUExecutionProvider). On a machine with an NVIDIA GPU: pip uninstall onnxruntime, then "
        "pip install 'mlopt[gpu]'."
    )


def test_the_project_of_the_tables_is_valid_before_it_is_spoilt(project_dir):
    loaded = load_project(project_dir())
    assert [c.name for c in candidate_space(loaded).candidates] == ["pytorch", "fp32"]

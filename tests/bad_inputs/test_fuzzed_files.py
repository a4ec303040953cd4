"""Whatever stands in the files, the outcome is a record or an error that names the place."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlopt.errors import ConfigError
from mlopt.project import load_project
from mlopt.recipe import read_recipe

WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    2.5,
    float("nan"),
    10**30,
    "",
    "text",
    "a\nb",
    [],
    {},
    [None],
    [[[]]],
    ["x", 1],
    {"a": {"b": [1]}},
    {1: 2},
    {None: None},
    b"\xff",
]

FULL: dict[str, Any] = {
    "name": "tiny",
    "model": {"factory": "model:build", "arguments": {}, "weights": "weights.safetensors"},
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
    "outputs": ["logits"],
    "data": {"selection": "data:selection", "holdout": {"function": "data:holdout"}},
    "metrics": [{"name": "accuracy", "max_drop": 0.05}, "f1"],
    "budget": ["p99 <= 5 ms", "size <= 10 MB"],
    "recipes": ["fp32"],
    "task": "classification",
    "baseline": {"recipe": "fp32", "provider": "cpu"},
    "traffic": {"predictions_per_day": 1000},
    "providers": ["cpu"],
    "batch_sizes": [1, 8],
    "measurement": {"launches": 2, "block_ms": 10.0},
    "limits": {"seconds": 10.0, "memory_mb": 100.0, "examples": 100, "data_mb": 1.0},
    "allow_fallback": False,
}

RECIPE: dict[str, Any] = {
    "name": "mine",
    "summary": "something",
    "when": "sometimes",
    "steps": [
        {"pass": "export_onnx", "exporter": "auto", "opset": 18},
        {
            "pass": "int8_static",
            "calibration": ["minmax", "entropy"],
            "percentile": 99.0,
            "samples": 10,
            "reduce_range": "auto",
            "per_channel": True,
            "exclude": ["conv1"],
        },
    ],
}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def _with(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(content)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _message(read: Callable[[Path], object], path: Path) -> str:
    """What the user is told; the file's name where there is nothing to tell."""
    try:
        read(path)
    except ConfigError as e:
        return str(e)
    return f"recipes/{path.name}" if path.suffix else "mlopt.yaml"


def _expand(path: Path) -> None:
    recipe = read_recipe(path, f"recipes/{path.name}")
    for source in ("torch", "onnx"):
        if not list(recipe.expand(source)):
            raise AssertionError("a recipe that is accepted must expand")


@pytest.mark.parametrize("path", list(_paths(FULL)), ids=_name)
def test_no_value_in_a_project_ends_in_a_traceback(path, project_dir):
    directory = project_dir()
    for value in WRONG:
        (directory / "mlopt.yaml").write_text(yaml.safe_dump(_with(FULL, path, value)))
        assert _message(load_project, directory).startswith("mlopt.yaml")


@pytest.mark.parametrize("path", list(_paths(RECIPE)), ids=_name)
def test_no_value_in_a_recipe_ends_in_a_traceback(path, tmp_path: Path):
    file = tmp_path / "mine.yaml"
    for value in WRONG:
        file.write_text(yaml.safe_dump(_with(RECIPE, path, value)))
        assert _message(_expand, file).startswith("recipes/mine.yaml")


def test_no_damage_to_the_text_of_a_project_ends_in_a_traceback(project_dir):
    rng = random.Random(0)
    directory = project_dir()
    text = yaml.safe_dump(FULL)
    for _ in range(150):
        i, j = sorted(rng.sample(range(len(text)), 2))
        noise = "".join(rng.choices("{}[]:-#&*!|>'\"%@`\t\n 0?~,\0\u2028", k=rng.randint(0, 4)))
        damaged = text[:i] + noise + text[min(j, i + rng.randint(0, 8)) :]
        (directory / "mlopt.yaml").write_text(damaged, encoding="utf-8")
        assert _message(load_project, directory).startswith("mlopt.yaml")

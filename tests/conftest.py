"""What every test starts from: a cache of its own, and a tiny valid project to spoil."""

from __future__ import annotations

import copy
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from mlopt.workers import fork_server

MODEL = """\
from torch import nn


def build(width=8):
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
"""

DATA = """\
import numpy as np


def _split(seed, examples=40):
    rng = np.random.default_rng(seed)
    for _ in range(0, examples, 20):
        yield rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 3, 20)


def calibration():
    return _split(0)


def selection():
    return _split(1)


def holdout():
    return _split(2)
"""

PROJECT: dict[str, Any] = {
    "name": "tiny",
    "model": {"factory": "model:build", "weights": "weights.safetensors"},
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4]}],
    "outputs": ["logits"],
    "data": {
        "calibration": "data:calibration",
        "selection": "data:selection",
        "holdout": "data:holdout",
    },
    "metrics": [{"name": "accuracy", "max_drop": 0.05}],
    "budget": ["p99 <= 5 ms", "size <= 10 MB"],
    "recipes": ["fp32"],
    "diagnose": False,
}


class MakeProject(Protocol):
    """Writes a tiny project and returns its directory.

    Args:
        changes: Dotted path in mlopt.yaml (``metrics.0.name``) to its value; ``...`` removes it.
        text: The whole of mlopt.yaml instead.
        files: More files, or others in the place of the usual ones; None leaves one out.
        name: Name of the directory.
    """

    def __call__(
        self,
        changes: Mapping[str, Any] | None = None,
        *,
        text: str | bytes | None = None,
        files: Mapping[str, str | bytes | None] | None = None,
        name: str = "tiny",
    ) -> Path: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _as_from_a_prompt() -> Iterator[None]:
    """Output is not folded at the caller's width, and a job in the background can have Ctrl-C.

    Two processes test at once, each with workers: threads of libraries that nobody asked for only
    wait for one another.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_fork_server(_as_from_a_prompt: None) -> Iterator[None]:
    """Workers of all tests are forked from one process, which imports once what takes seconds."""
    with fork_server():
        yield


@pytest.fixture
def project_dir(tmp_path: Path) -> Iterator[MakeProject]:
    """A builder of tiny projects; what they import in this process is forgotten at the end."""

    def make(
        changes: Mapping[str, Any] | None = None,
        *,
        text: str | bytes | None = None,
        files: Mapping[str, str | bytes | None] | None = None,
        name: str = "tiny",
    ) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        content = copy.deepcopy(PROJECT)
        for path, value in (changes or {}).items():
            _change(content, path, value)
        usual: dict[str, str | bytes | None] = {
            "mlopt.yaml": text if text is not None else yaml.safe_dump(content, sort_keys=False),
            "model.py": MODEL,
            "data.py": DATA,
            "weights.safetensors": _weights(),
        }
        for file, data in {**usual, **(files or {})}.items():
            if data is not None:
                target = directory / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data.encode() if isinstance(data, str) else data)
        return directory

    before = list(sys.path)
    yield make
    sys.path[:] = before
    for module, loaded in list(sys.modules.items()):
        if str(getattr(loaded, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[module]


def _change(content: Any, path: str, value: Any) -> None:
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in parents:
        content = content[key]
    if value is ...:
        del content[last]
    else:
        content[last] = value


def _weights() -> bytes:
    import numpy as np
    from safetensors.numpy import save

    rng = np.random.default_rng(0)
    shapes = {"0.weight": (8, 4), "0.bias": (8,), "2.weight": (3, 8), "2.bias": (3,)}
    return save({name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()})

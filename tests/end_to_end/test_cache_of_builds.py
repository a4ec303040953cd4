"""What is built again, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlopt import api
from mlopt.api import OptimizeResult

pytestmark = pytest.mark.slow

MODEL = """
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, features):
        return self.layer(features)

def build():
    return Model()
"""


EXPORT = {"pass": "export_onnx", "exporter": "torchscript"}  # the faster one
RECIPES = {"plain": [EXPORT], "small": [EXPORT, {"pass": "int8_dynamic"}]}


@pytest.fixture
def torch_project(tmp_path: Path) -> Path:
    import numpy as np
    import torch
    from safetensors.torch import save_file

    (tmp_path / "model.py").write_text(MODEL)
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 3)
    save_file(
        {"layer.weight": layer.weight.detach(), "layer.bias": layer.bias.detach()},
        tmp_path / "w.safetensors",
    )
    for seed, split in enumerate(("selection", "holdout")):
        features = np.random.default_rng(seed).normal(size=(128, 8)).astype(np.float32)
        target = layer(torch.from_numpy(features)).argmax(1).numpy()
        np.savez(tmp_path / f"{split}.npz", features=features, target=target)
    content = {
        "name": "tiny",
        "model": {"factory": "model:build", "weights": "w.safetensors"},
        "inputs": [{"name": "features", "dtype": "float32", "shape": ["batch", 8]}],
        "data": {s: {"npz": f"{s}.npz"} for s in ("selection", "holdout")},
        "metrics": ["accuracy"],
        "measurement": {"launches": 1, "rounds": 2, "block_ms": 1},
        "baseline": {"recipe": "plain"},
        "recipes": list(RECIPES),
        "diagnose": False,
    }
    (tmp_path / "recipes").mkdir()
    for name, steps in RECIPES.items():
        recipe = {"name": name, "summary": "in this test", "when": "in this test", "steps": steps}
        (tmp_path / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "mlopt.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def cached(result: OptimizeResult) -> dict[str, int]:
    return {c.name: c.cached_steps for c in result.run.candidates if c.plan.role != "reference"}


def test_only_what_changed_is_built_again(torch_project: Path, tmp_path: Path) -> None:
    def run() -> OptimizeResult:
        return api.optimize(torch_project, out=tmp_path / "out")

    first = run()
    assert cached(first) == {"plain": 0, "small": 1}, "the export that both share is built once"

    (torch_project / "README.md").write_text("not code")
    assert cached(run()) == {"plain": 1, "small": 2}, "no code changed, nothing is built"

    model = torch_project / "model.py"
    model.write_text(
        MODEL.replace("return self.layer(features)", "return self.layer(features) * 2")
    )
    edited = run()
    assert cached(edited) == {"plain": 0, "small": 1}, "forward changed, with the same weights"
    hashes = [r.run.candidate("plain").artifact_sha256 for r in (first, edited)]
    assert hashes[0] != hashes[1]

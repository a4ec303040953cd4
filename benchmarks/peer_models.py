"""The architectures that peers are compared on, each written as a project of mlopt's.

Weights are random, since nothing is downloaded: what is asked of a faster form is that it agrees
with the fp32 model. The running statistics of batch normalization are those of the data, so that
activations have the sizes of a trained network's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

SEED = 2024
SPLITS = {"calibration": 48, "selection": 48, "holdout": 96}
TOKENS = 128

MODULE = "architectures.py"
"""What this file is called in a project: another name than its own, which may be imported already."""


class Architecture(NamedTuple):
    """A model to be built.

    Attributes:
        inputs: Name, element type and shape without the batch axis, in the order of ``forward``.
        transformer: Whether quantizers are told that it is one.
    """

    factory: str
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    transformer: bool


_IMAGE = (("pixel_values", "float32", (3, 224, 224)),)
_TEXT = tuple((name, "int64", (TOKENS,)) for name in ("input_ids", "attention_mask"))

ARCHITECTURES = {
    "resnet50": Architecture("resnet50", _IMAGE, transformer=False),
    "mobilenet_v2": Architecture("mobilenet_v2", _IMAGE, transformer=False),
    "vit_s": Architecture("vit_s", _IMAGE, transformer=True),
    "bert_base": Architecture("bert_base", _TEXT, transformer=True),
}


class ImageLogits(torch.nn.Module):
    """An image classifier that returns its logits alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits of shape (N, C) for images of shape (N, 3, H, W)."""
        logits: torch.Tensor = self.model(pixel_values).logits
        return logits


class TextLogits(torch.nn.Module):
    """A text classifier that returns its logits alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of shape (N, C) for tokens of shape (N, T)."""
        logits: torch.Tensor = self.model(input_ids, attention_mask=attention_mask).logits
        return logits


def resnet50() -> torch.nn.Module:
    """ResNet-50, as transformers builds it by default."""
    from transformers import ResNetConfig, ResNetForImageClassification

    return ImageLogits(ResNetForImageClassification(ResNetConfig(num_labels=1000)))


def mobilenet_v2() -> torch.nn.Module:
    """MobileNetV2 of width 1."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return ImageLogits(MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=1000)))


def vit_s() -> torch.nn.Module:
    """ViT-S/16: 12 layers of 384 features with 6 heads."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_labels=1000
    )
    return ImageLogits(ViTForImageClassification(config))


def bert_base() -> torch.nn.Module:
    """BERT-base with a classifier of two classes."""
    from transformers import BertConfig, BertForSequenceClassification

    return TextLogits(BertForSequenceClassification(BertConfig()))


def agreement(outputs: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """1 less the error relative to how much the fp32 outputs vary over the examples.

    Args:
        outputs: Shape (N, C).
        targets: Those of the fp32 model, shape (N, C).
    """
    varies = float(np.linalg.norm(targets - targets.mean(axis=0)))
    return 1 - float(np.linalg.norm(outputs - targets)) / max(varies, 1e-12)


def write_project(name: str, directory: str, max_drop: float) -> None:
    """Writes a project: this file, weights, inputs with the fp32 outputs as targets, mlopt.yaml.

    Args:
        name: Of one of :data:`ARCHITECTURES`.
        directory: Where it goes; what is there already is kept, but for mlopt.yaml.
        max_drop: How much of the agreement may be lost.
    """
    import yaml

    place, one = Path(directory), ARCHITECTURES[name]
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "holdout.npz").exists():
        shutil.copy(__file__, place / MODULE)
        _write_weights_and_data(one, place)
    project = {
        "name": name,
        "model": {"factory": f"architectures:{one.factory}", "weights": "weights.safetensors"},
        "inputs": [
            {"name": n, "dtype": dtype, "shape": ["batch", *shape]}
            for n, dtype, shape in one.inputs
        ],
        "outputs": ["logits"],
        "data": {split: {"npz": f"{split}.npz"} for split in SPLITS},
        "task": "regression",
        "metrics": [
            {
                "name": "agreement",
                "function": "architectures:agreement",
                "direction": "higher",
                "max_drop": max_drop,
            }
        ],
        "measurement": {"launches": 3, "most_launches": 5, "min_block": 6, "max_seconds": 180},
        "diagnose": False,
    }
    (place / "mlopt.yaml").write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")


def _write_weights_and_data(one: Architecture, place: Path) -> None:
    from safetensors.torch import save_model

    factory: Callable[[], torch.nn.Module] = globals()[one.factory]
    torch.manual_seed(SEED)
    module = factory()
    rng = np.random.default_rng(SEED)
    _settle(module, [torch.from_numpy(value) for value in _inputs(one, 16, rng).values()])
    save_model(module, str(place / "weights.safetensors"))
    for split, count in SPLITS.items():
        inputs = _inputs(one, count, rng)
        with torch.inference_mode():
            answers = [
                module(*(torch.from_numpy(value[i : i + 8]) for value in inputs.values()))
                for i in range(0, count, 8)
            ]
        arrays: dict[str, Any] = {"target": torch.cat(answers).numpy(), **inputs}
        np.savez(place / f"{split}.npz", **arrays)


def _inputs(
    one: Architecture, count: int, rng: np.random.Generator
) -> dict[str, NDArray[np.generic]]:
    """Random examples by name: smooth images, and texts of random words without padding."""
    found: dict[str, NDArray[np.generic]] = {}
    for name, dtype, shape in one.inputs:
        if dtype == "float32":
            coarse = rng.normal(size=(count, shape[0], shape[1] // 16, shape[2] // 16))
            smooth = coarse.repeat(16, axis=2).repeat(16, axis=3)
            found[name] = (smooth + 0.3 * rng.normal(size=(count, *shape))).astype(np.float32)
        elif name == "attention_mask":
            found[name] = np.ones((count, *shape), dtype=np.int64)
        else:
            found[name] = rng.integers(1000, 30_000, size=(count, *shape))
    return found


def _settle(module: torch.nn.Module, inputs: list[torch.Tensor]) -> None:
    """Has batch normalization take the statistics of some inputs, and ends in evaluation mode."""
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    if norms:
        module.train()
        with torch.no_grad():
            module(*inputs)
    module.eval()

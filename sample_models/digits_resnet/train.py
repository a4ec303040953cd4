"""Trains the network and writes `weights.safetensors`: `python train.py`.

Two runs on one machine give the same bits. Another CPU or torch version may round differently.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable
from pathlib import Path

import data
import torch
from augment import augment
from model import build
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

SEED = 0
# Fixed, because how a sum is cut between threads changes how it rounds.
THREADS = 2
EPOCHS = 36
BATCH_SIZE = 50
PEAK_LEARNING_RATE = 0.1
WARM_UP_FRACTION = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-3
LABEL_SMOOTHING = 0.1


def main() -> None:
    """Trains, saves the weights, and prints the accuracy on `selection` and `holdout`."""
    arguments = _parse_arguments()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)

    started = time.perf_counter()
    model = train(build(), epochs=arguments.epochs)
    print(f"trained in {time.perf_counter() - started:.0f} s")

    save_file(model.state_dict(), arguments.output)
    print(f"wrote {arguments.output.name}: {arguments.output.stat().st_size / 1e6:.2f} MB")

    # The weights are on disk by now: neither figure can have influenced them.
    for name, split in (("selection", data.selection()), ("holdout", data.holdout())):
        correct, total = count_correct(model, split)
        print(f"{name} accuracy: {correct / total:.4f} ({correct} of {total})")


def train(model: nn.Module, epochs: int) -> nn.Module:
    """Fits `model` to the training split, in place, and returns it in evaluation mode."""
    images, labels = _stack(data.training())
    model.train()
    optimizer = torch.optim.SGD(
        _parameter_groups(model), lr=PEAK_LEARNING_RATE, momentum=MOMENTUM, nesterov=True
    )
    steps_per_epoch = math.ceil(len(labels) / BATCH_SIZE)
    total_steps = epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, total_steps)
    )

    for epoch in range(epochs):
        loss_sum = 0.0
        for rows in torch.randperm(len(labels)).split(BATCH_SIZE):
            logits = model(augment({"image": images[rows]})["image"])
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(rows)
        print(f"epoch {epoch + 1}/{epochs}: training loss {loss_sum / len(labels):.4f}", flush=True)

    return model.eval()


def learning_rate_factor(step: int, total_steps: int) -> float:
    """Returns the share of the peak learning rate: a linear warm-up, then half a cosine to 0."""
    warm_up_steps = max(1, round(WARM_UP_FRACTION * total_steps))
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    progress = (step - warm_up_steps) / max(1, total_steps - warm_up_steps)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def count_correct(model: nn.Module, batches: data.Batches) -> tuple[int, int]:
    """Returns how many examples `model` classifies correctly, and how many there are."""
    images, labels = _stack(batches)
    with torch.inference_mode():
        correct = (model(images).argmax(dim=1) == labels).sum()
    return int(correct), len(labels)


def _parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    # Decay acts on what multiplies features. On BatchNorm's scale and shift, and on a bias, it
    # regularizes nothing and only biases them towards 0.
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]


def _stack(batches: Iterable[tuple[data.Images, data.Labels]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*batches, strict=True)
    return (
        torch.cat([torch.from_numpy(batch) for batch in images]),
        torch.cat([torch.from_numpy(batch) for batch in labels]),
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the digits network.")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name("weights.safetensors"),
        help="default: weights.safetensors beside this file",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

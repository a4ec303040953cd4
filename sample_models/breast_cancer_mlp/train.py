"""Trains the network and writes `weights.safetensors`: `python train.py`.

Two runs on one machine give the same bits. Another CPU or torch version may round differently.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import data
import torch
from model import build
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.functional.classification import binary_auroc

SEED = 0
# Fixed, because how a sum is cut between threads changes how it rounds.
THREADS = 1
EPOCHS = 30
BATCH_SIZE = 20
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
# The rows are few and nearly separable: without it, logits grow until all scores are 0 or 1.
LABEL_SMOOTHING = 0.1


def main() -> None:
    """Trains, saves the weights, and prints how well `selection` and `holdout` are told apart."""
    arguments = _parse_arguments()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)

    started = time.perf_counter()
    model = train(build(), epochs=arguments.epochs)
    print(f"trained in {time.perf_counter() - started:.1f} s")

    save_file(model.state_dict(), arguments.output)
    print(f"wrote {arguments.output.name}: {arguments.output.stat().st_size / 1e6:.2f} MB")

    # The weights are on disk by now: none of these figures can have influenced them.
    for name, split in (("selection", data.selection()), ("holdout", data.holdout())):
        area, correct, total = score(model, split)
        print(f"{name}: AUROC {area:.4f}, accuracy {correct / total:.4f} ({correct} of {total})")


def train(model: nn.Module, epochs: int) -> nn.Module:
    """Fits `model` to the training split, in place, and returns it in evaluation mode."""
    features, labels = _stack(data.training())
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for epoch in range(epochs):
        loss_sum = 0.0
        for rows in torch.randperm(len(labels)).split(BATCH_SIZE):
            logits = model(features[rows])
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(rows)
        print(f"epoch {epoch + 1}/{epochs}: training loss {loss_sum / len(labels):.4f}", flush=True)

    return model.eval()


def score(model: nn.Module, batches: data.Batches) -> tuple[float, int, int]:
    """Returns the AUROC of `model`, how many examples it classifies correctly, and of how many."""
    features, labels = _stack(batches)
    with torch.inference_mode():
        logits = model(features)
    correct = int((logits.argmax(dim=1) == labels).sum())
    return float(binary_auroc(logits[:, 1] - logits[:, 0], labels)), correct, len(labels)


def _stack(batches: Iterable[tuple[data.Features, data.Labels]]) -> tuple[Tensor, Tensor]:
    features, labels = zip(*batches, strict=True)
    return (
        torch.cat([torch.from_numpy(batch) for batch in features]),
        torch.cat([torch.from_numpy(batch) for batch in labels]),
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the tumour network.")
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

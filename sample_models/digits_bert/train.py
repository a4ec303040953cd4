"""Trains the network and writes the directory `bert/`: `python train.py`.

Two runs on one machine give the same bits. Another CPU or torch version may round differently.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import data
import torch
from augmentation import augment
from model import build, build_tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoTokenizer, BertForSequenceClassification, PreTrainedTokenizerBase

SEED = 0
# Fixed, because how a sum is cut between threads changes how it rounds.
THREADS = 1
EPOCHS = 40
BATCH_SIZE = 25
PEAK_LEARNING_RATE = 1e-3
WARM_UP_FRACTION = 0.1
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.1
MAX_GRADIENT_NORM = 1.0


def main() -> None:
    """Trains, saves the directory, and prints the accuracy on `selection` and `holdout`."""
    arguments = _parse_arguments()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)

    started = time.perf_counter()
    build_tokenizer().save_pretrained(arguments.output)
    # Read back, so that training reads with the very files that serving will read with.
    tokenizer = AutoTokenizer.from_pretrained(arguments.output)
    model = train(build(), tokenizer, epochs=arguments.epochs)
    print(f"trained in {time.perf_counter() - started:.0f} s")

    model.save_pretrained(arguments.output)
    size = sum(file.stat().st_size for file in arguments.output.iterdir())
    print(f"wrote {arguments.output.name}/: {size / 1e6:.2f} MB")

    # The weights are on disk by now: neither figure can have influenced them.
    for name, split in (("selection", data.selection()), ("holdout", data.holdout())):
        correct, total = count_correct(model, tokenizer, split)
        print(f"{name} accuracy: {correct / total:.4f} ({correct} of {total})")


def train(
    model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerBase, epochs: int
) -> BertForSequenceClassification:
    """Fits `model` to the training split, in place, and returns it in evaluation mode."""
    inputs, labels = encode(tokenizer, data.training())
    model.train()
    optimizer = torch.optim.AdamW(
        _parameter_groups(model), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98)
    )
    total_steps = epochs * math.ceil(len(labels) / BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, total_steps)
    )

    for epoch in range(epochs):
        loss_sum = 0.0
        for rows in torch.randperm(len(labels)).split(BATCH_SIZE):
            batch = augment({name: tensor[rows] for name, tensor in inputs.items()})
            logits = model(**batch).logits
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(rows)
        print(f"epoch {epoch + 1}/{epochs}: training loss {loss_sum / len(labels):.4f}", flush=True)

    return model.eval()


def encode(
    tokenizer: PreTrainedTokenizerBase, batches: data.Batches
) -> tuple[dict[str, Tensor], Tensor]:
    """Returns what the model reads of a split, by name, and its labels."""
    texts, labels = zip(*batches, strict=True)
    encoded = tokenizer([text for batch in texts for text in batch], return_tensors="pt")
    return dict(encoded), torch.cat([torch.from_numpy(batch) for batch in labels])


def learning_rate_factor(step: int, total_steps: int) -> float:
    """Returns the share of the peak learning rate: a linear warm-up, then half a cosine to 0."""
    warm_up_steps = max(1, round(WARM_UP_FRACTION * total_steps))
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    progress = (step - warm_up_steps) / max(1, total_steps - warm_up_steps)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def count_correct(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, batches: data.Batches
) -> tuple[int, int]:
    """Returns how many examples `model` classifies correctly, and how many there are."""
    inputs, labels = encode(tokenizer, batches)
    with torch.inference_mode():
        correct = (model(**inputs).logits.argmax(dim=1) == labels).sum()
    return int(correct), len(labels)


def _parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    # Decay acts on what multiplies features. On LayerNorm's scale and shift, and on a bias, it
    # regularizes nothing and only biases them towards 0.
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the digits network.")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name("bert"),
        help="default: the directory bert beside this file",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Random variations of a batch of digits, for `train.py` and for what `mlopt` trains."""

from __future__ import annotations

import math

import torch
from model import FIRST_PIXEL_TOKEN, MAX_PIXEL, PIXELS, SIDE
from torch import Tensor
from torch.nn import functional

MAX_ROTATION_DEGREES = 10.0
MAX_SHIFT = 0.16  # of half the image's side: 0.64 pixels of 8
MAX_SCALE_CHANGE = 0.12  # of width and height, each for itself
MAX_SHEAR = 0.15
MAX_INK_CHANGE = 0.25
NOISE = 1.5  # standard deviation, in pixel values


def augment(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Turns, shears, scales and shifts each digit at random, by a little, and changes its ink.

    Args:
        inputs: `input_ids` is `(N, 66)`: [CLS], the pixels row by row, [SEP].

    Returns:
        The same, with other pixels. They are whole numbers from 0 to 16 again.
    """
    ids = inputs["input_ids"].clone()
    digits = (ids[:, 1 : 1 + PIXELS] - FIRST_PIXEL_TOKEN).reshape(-1, 1, SIDE, SIDE).float()
    count = len(digits)
    angle = math.radians(MAX_ROTATION_DEGREES) * _uniform(count)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    width, height = 1.0 + MAX_SCALE_CHANGE * _uniform(2, count)
    shear = MAX_SHEAR * _uniform(count)
    shift = MAX_SHIFT * _uniform(2, count)
    affine = torch.stack(
        [
            torch.stack([width * cosine, height * (shear * cosine - sine), shift[0]]),
            torch.stack([width * sine, height * (shear * sine + cosine), shift[1]]),
        ]
    ).permute(2, 0, 1)
    grid = functional.affine_grid(affine, list(digits.shape), align_corners=False)
    digits = functional.grid_sample(digits, grid, align_corners=False)
    digits = digits * (1.0 + MAX_INK_CHANGE * _uniform(count, 1, 1, 1))
    digits = digits + NOISE * torch.randn(digits.shape) * (digits > 0.5)
    pixels = digits.round().clamp(0, MAX_PIXEL).long().reshape(count, PIXELS)
    ids[:, 1 : 1 + PIXELS] = pixels + FIRST_PIXEL_TOKEN
    return {**inputs, "input_ids": ids}


def _uniform(*shape: int) -> Tensor:
    return torch.rand(shape) * 2.0 - 1.0

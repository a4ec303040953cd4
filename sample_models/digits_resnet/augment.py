"""How a training image is varied: here, and where mlopt trains the network on."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

MAX_ROTATION_DEGREES = 12.0
MAX_SHIFT = 0.14  # of half the image's side: 2.2 pixels of 32
MAX_SCALE_CHANGE = 0.12


def augment(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rotates, scales and shifts each of the images `(N, 1, H, W)` at random, by a little.

    Nothing is mirrored: a mirrored 2 or 5 is no digit.
    """
    images = inputs["image"]
    count = len(images)
    angle = math.radians(MAX_ROTATION_DEGREES) * _uniform(count)
    scale = 1.0 + MAX_SCALE_CHANGE * _uniform(count)
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    shift = MAX_SHIFT * _uniform(2, count)
    affine = torch.stack(
        [torch.stack([cosine, -sine, shift[0]]), torch.stack([sine, cosine, shift[1]])]
    ).permute(2, 0, 1)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return {"image": functional.grid_sample(images, grid, align_corners=False)}


def _uniform(*shape: int) -> Tensor:
    return torch.rand(shape) * 2.0 - 1.0

"""From what a person reads to what a model reads, exactly as in training.

A data source may yield raw columns, texts and images by name. The files beside the model's
weights say how they become its inputs; nothing else does, so training and serving cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from mlopt.errors import ModelError
from mlopt.frameworks.huggingface import read_config
from mlopt.sources.data import Batch
from mlopt.sources.images import ImagePreprocessor
from mlopt.sources.saved import code_problem
from mlopt.sources.text import TextPreprocessor
from mlopt.types.tensors import TensorSpec
from mlopt.types.torch_model import HuggingFace


class Preprocessor(Protocol):
    """Turns raw columns into a model's inputs."""

    @property
    def fill(self) -> Mapping[str, int]:
        """What an input is filled up with where an example is shorter than others; default 0."""
        ...

    def __call__(self, batch: Batch, inputs: tuple[TensorSpec, ...], where: str) -> Batch:
        """The batch as the model takes it; one that has the model's inputs passes unchanged.

        Args:
            batch: Raw columns by name, each a list or an array of n values, and targets if any.
            inputs: The model's inputs.
            where: The place of the batch, for messages.

        Raises:
            DataError: A column is missing, or a value is no text, no image or no known label.
        """
        ...


def preprocessor_of(
    directory: Path, model: HuggingFace, max_length: int | None, project_dir: Path
) -> Preprocessor:
    """The tokenizer or image processor that lies in ``directory``.

    Args:
        directory: As written by ``save_pretrained``.
        model: What it is used for.
        max_length: Most tokens of a text; None: as many as the model takes.
        project_dir: What paths of images are relative to.

    Raises:
        ModelError: There is none, it cannot be read, or it would run code that nobody asked for.
        UnavailableError: transformers is not installed.
    """
    config = read_config(directory, model)
    if (problem := code_problem(directory, model)) is not None:
        raise ModelError(f"model: {problem}")
    if hasattr(config, "num_channels") and not hasattr(config, "vocab_size"):
        return ImagePreprocessor.load(directory, model, config, project_dir)
    return TextPreprocessor.load(directory, model, config, max_length)

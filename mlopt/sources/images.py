"""Images become pixels with the image processor that lies beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.errors import DataError
from mlopt.frameworks.huggingface import first_line, transformers_library
from mlopt.sources.data import Batch
from mlopt.sources.labels import LABEL, label_numbers, labels_of, place_of
from mlopt.sources.saved import unreadable
from mlopt.types.tensors import TensorSpec
from mlopt.types.torch_model import HuggingFace

if TYPE_CHECKING:
    import numpy as np

PIXELS = "pixel_values"


class ImagePreprocessor:
    """Reads images, given as files, as PIL images or as uint8 arrays, and scales them as in training.

    They are converted to grey or RGB first, whichever the model takes.
    """

    fill: Mapping[str, int] = {}

    def __init__(
        self, processor: Any, channels: int, labels: Mapping[str, int], project_dir: Path
    ) -> None:
        """Keeps what is needed.

        Args:
            processor: An image processor of transformers.
            channels: 1 or 3.
            labels: Class numbers by name.
            project_dir: What paths are relative to.
        """
        self._processor = processor
        self._mode = "L" if channels == 1 else "RGB"
        self._labels = labels
        self._project_dir = project_dir

    @classmethod
    def load(
        cls, directory: Path, model: HuggingFace, config: Any, project_dir: Path
    ) -> ImagePreprocessor:
        """Reads the image processor of a directory.

        Raises:
            ModelError: There is none, or it cannot be read.
        """
        try:
            # The fast processors want torchvision, and resize a little differently.
            processor = transformers_library().AutoImageProcessor.from_pretrained(
                directory,
                local_files_only=True,
                trust_remote_code=model.trust_remote_code,
                use_fast=False,
            )
        except Exception as e:
            raise unreadable("image processor", directory, e) from e
        channels = getattr(config, "num_channels", 3)
        return cls(processor, channels, labels_of(config), project_dir)

    def __call__(self, batch: Batch, inputs: tuple[TensorSpec, ...], where: str) -> Batch:
        """Processes a batch; pixels that are floating-point numbers already pass unchanged.

        Raises:
            DataError: There is no column of images, one cannot be read, or a label is unknown.
        """
        images = batch.inputs.get("image", batch.inputs.get(inputs[0].name))
        if images is None:
            found = ", ".join(f"'{column}'" for column in batch.inputs) or "nothing"
            raise DataError(
                f"{where}: there is no column 'image' (there is {found}). Rename it in the data, or "
                "say which one it is with 'columns'."
            )
        if getattr(images, "dtype", None) is not None and images.dtype.kind == "f":
            return batch
        opened = [self._open(one, place_of(batch, i, where)) for i, one in enumerate(images)]
        try:
            pixels = self._processor(images=opened, return_tensors="np")[PIXELS]
        except Exception as e:
            raise DataError(
                f"{where}: the image processor refuses these images: {first_line(e)}"
            ) from e
        labels = batch.target if batch.target is not None else batch.inputs.get(LABEL)
        target = None if labels is None else label_numbers(labels, self._labels, batch, where)
        return Batch({inputs[0].name: pixels.astype(inputs[0].dtype)}, target, batch.rows)

    def _open(self, image: Any, place: str) -> np.ndarray[Any, Any]:
        """The image, shape (H, W, C), values 0 to 255."""
        import numpy as np
        from PIL import Image

        try:
            if isinstance(image, str | Path):
                with Image.open(self._project_dir / image) as opened:
                    pixels = np.asarray(opened.convert(self._mode))
            elif hasattr(image, "convert"):
                pixels = np.asarray(image.convert(self._mode))
            else:
                array = np.asarray(image)
                grey = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
                pixels = np.asarray(Image.fromarray(grey).convert(self._mode))
        except Exception as e:
            shown = f" '{image}'" if isinstance(image, str | Path) else ""
            raise DataError(
                f"{place}: the image{shown} cannot be read: {first_line(e)} An image is a file, a PIL "
                "image, or a uint8 array of shape (H, W) or (H, W, 3)."
            ) from e
        return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]

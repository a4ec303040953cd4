"""Variations of the training part that stay: the teacher is asked about each of them once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlopt.passes._training.forward import Respondent, copied
from mlopt.passes._training.material import (
    Augmentation,
    Material,
    in_order,
    own_tensor,
    shuffled,
)
from mlopt.passes._training.progress import Seldom
from mlopt.passes._training.reproducible import seed_part

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]
    Tensors = dict[str, torch.Tensor]

ASKED = 100
"""Examples that a teacher of any batch size is asked about at once: it answers faster than in the
small batches that a student learns in."""

ANSWERS = "answers"


class Variations:
    """Varied inputs and the teacher's answers to them, on disk; epochs take turns with them.

    Each is drawn from a seed of its own, so that one that a kill took is made again as it was.
    """

    def __init__(
        self,
        count: int,
        augment: Augmentation,
        teacher: Respondent,
        material: Material,
        directory: Path,
        identity: str,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        """Prepares; nothing is varied yet.

        Args:
            count: Variations of each example.
            augment: Varies a batch.
            teacher: Who answers; in evaluation mode.
            material: The training part is what is varied.
            directory: For the files.
            identity: Of all that shapes them.
            seed: Of the pass.
            say: Told what is going on.
        """
        import numpy as np

        self._count = count
        self._augment = augment
        self._teacher = teacher
        self._material = material
        self._rows: Array = np.sort(material.parts.training)
        self._directory = directory
        self._name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._seed = seed
        self._say = say
        self._arrays: dict[str, Array] = {}
        names = material.inputs(self._rows[:1])
        self._files = {
            name: f"input-{i}" for i, name in enumerate(names)
        }  # whatever they are called

    def prepare(self, epoch: int) -> None:
        """Opens the variation of an epoch, and makes it if it is not there; call before seeding it.

        Args:
            epoch: From 1.
        """
        number = (epoch - 1) % self._count
        path = self._directory / f"variation-{self._name}-{number}"
        self._arrays = self._opened(path)
        if not self._arrays:
            self._make(path, number)
            self._arrays = self._opened(path)

    def batch(self, rows: Array) -> tuple[Tensors, torch.Tensor]:
        """Inputs by name, varied, and what the teacher answers to them.

        Args:
            rows: Of the training part.
        """
        import numpy as np

        places = np.searchsorted(self._rows, rows)
        taken = {name: own_tensor(array[places]) for name, array in self._arrays.items()}
        return {name: taken[file] for name, file in self._files.items()}, taken[ANSWERS]

    def _opened(self, path: Path) -> dict[str, Array]:
        """The arrays of a variation; none where one of them is missing, or only a part of it."""
        import numpy as np

        found: dict[str, Array] = {}
        try:
            for name in (*self._files.values(), ANSWERS):
                found[name] = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return {}
        return found

    def _make(self, path: Path, number: int) -> None:
        """Writes a variation, in one step at the end."""
        import numpy as np
        import torch
        from numpy.lib.format import open_memmap

        seed_part(self._seed, f"variation {number}")
        temporary = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        seldom = Seldom(self._say)
        files: dict[str, Any] = {}
        done = 0
        # In no order of the data's own: the function may mix the examples of a batch.
        for batch in in_order(shuffled(self._rows), self._teacher.fixed_batch or ASKED):
            full = np.resize(batch, self._teacher.fixed_batch or len(batch))
            varied = self._augment(self._material.inputs(full))
            with torch.no_grad():
                answers = self._teacher.answer(copied(varied))
            found = {file: varied[name] for name, file in self._files.items()}
            for name, tensor in (found | {ANSWERS: answers}).items():
                values = tensor[: len(batch)].numpy()
                if name not in files:
                    shape = (len(self._rows), *values.shape[1:])
                    files[name] = open_memmap(temporary / f"{name}.npy", "w+", values.dtype, shape)
                files[name][np.searchsorted(self._rows, batch)] = values
            done += len(batch)
            seldom(
                f"the teacher has answered {done} of {len(self._rows)} examples of variation "
                f"{number + 1} of {self._count}"
            )
        while files:  # some systems do not move what is still mapped
            files.popitem()[1].flush()
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)

"""The teacher: asked once for each example where nothing varies, and its answers kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.passes._training.forward import Respondent
from mlopt.passes._training.material import Material
from mlopt.passes._training.progress import Seldom

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]
    Tensors = dict[str, torch.Tensor]

CACHE_BYTES = 2_000_000_000
"""Most that a teacher's answers may take on disk; larger ones are computed again each time."""


class Teacher(NamedTuple):
    """A model that others learn from.

    Attributes:
        module: In evaluation mode.
        outputs: Names of its outputs, in their order.
        key: Of its artifact.
        alpha: Its share of the loss; the targets have the rest.
        temperature: Divides the logits before they are compared.
        variations: Of each example, where they are varied, that it is asked about; epochs take turns
            with them. None: new ones in each epoch.
    """

    module: torch.nn.Module
    outputs: tuple[str, ...]
    key: str
    alpha: float
    temperature: float
    variations: int | None = None


class Lessons:
    """A teacher's answers to rows of the training split.

    Attributes:
        kept: Whether they lie on disk, where they fit into :data:`CACHE_BYTES`.
    """

    def __init__(
        self,
        teacher: Respondent,
        material: Material,
        rows: Array,
        size: int,
        directory: Path,
        identity: str,
        say: Callable[[str], None],
    ) -> None:
        """Asks for all of ``rows``, or opens what was kept when this was done before.

        Args:
            teacher: Who answers.
            material: What the rows are of.
            rows: That will be asked for unvaried, in ascending order, at least one.
            size: Of a batch.
            directory: That the answers are kept in.
            identity: Of all that shapes them.
            say: Told what is going on.
        """
        self._teacher = teacher
        self._material = material
        self._rows = rows
        self._size = size
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._array = self._open(directory / f"teacher-{name}.npy", say)

    @property
    def kept(self) -> bool:
        """Whether the answers lie on disk."""
        return self._array is not None

    def unvaried(self, rows: Array) -> torch.Tensor:
        """Answers to some of the rows that the teacher was asked for, as they are."""
        import numpy as np
        import torch

        if self._array is not None:
            kept = np.array(self._array[np.searchsorted(self._rows, rows)])
            return torch.from_numpy(kept).clone()
        return torch.cat(list(self._teacher.answers(self._material, rows, self._size)))

    def varied(self, inputs: Tensors) -> torch.Tensor:
        """Answers to a batch that exists only now."""
        import torch

        with torch.no_grad():
            return self._teacher.answer(inputs)

    def _open(self, path: Path, say: Callable[[str], None]) -> Array | None:
        found = _read(path)
        if found is None and self._write(path, say):
            found = _read(path)
        return found

    def _write(self, path: Path, say: Callable[[str], None]) -> bool:
        """Writes all answers, in one step at the end; False where they are too large."""
        from numpy.lib.format import open_memmap

        temporary = path.with_name(f".{path.name}.tmp")
        seldom = Seldom(say)
        target: Any = None
        done = 0
        for answer in self._teacher.answers(self._material, self._rows, self._size):
            if target is None:
                each = answer[0].numel() * answer.element_size()
                if each * len(self._rows) > CACHE_BYTES:
                    return False
                shape = (len(self._rows), *answer.shape[1:])
                target = open_memmap(temporary, "w+", answer.numpy().dtype, shape)
            target[done : done + len(answer)] = answer.numpy()
            done += len(answer)
            seldom(f"the teacher has answered {done} of {len(self._rows)} examples")
        target.flush()
        del target
        temporary.replace(path)
        return True


def _read(path: Path) -> Array | None:
    """The answers in a file; None where there is none, or only a part of it."""
    import numpy as np

    try:
        answers: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return answers

"""One session for each shape of inputs, so that none has a dynamic axis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from mlopt.runners._base import Session
from mlopt.types.artifact import Manifest

if TYPE_CHECKING:
    import numpy as np

    from mlopt.types.measurement import Placement

    Arrays = Mapping[str, np.ndarray[Any, Any]]

MOST_SHAPES = 4
"""Shapes that get a session of their own; whatever comes after them shares one with dynamic axes."""

Create = Callable[[Mapping[str, int]], Session]
"""Makes a session in which axes, by their names in the file, have fixed sizes."""


class ShapedSession:
    """A model that is prepared for the shapes that it is asked for.

    A provider that compiles a graph knows more of one without dynamic axes. The first inference of a
    shape pays for that.
    """

    def __init__(self, create: Create, manifest: Manifest) -> None:
        """Prepares; nothing is loaded before the first inputs are there.

        Args:
            create: Makes the sessions.
            manifest: Says what the dynamic axes are called.
        """
        self._create = create
        self._manifest = manifest
        self._known: dict[tuple[tuple[str, int], ...], Session] = {}
        self._lock = threading.Lock()

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name."""
        return self._session(inputs).run(inputs)

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One inference of the session for the shape of ``inputs``."""
        return self._session(inputs).bind(inputs)

    def serving(self) -> AbstractContextManager[object]:
        """Nothing to enter: sessions may come later."""
        return nullcontext()

    def placement(self) -> Placement | None:
        """That of the first session."""
        with self._lock:
            if not self._known:
                self._known[()] = self._create({})
            return next(iter(self._known.values())).placement()

    def _session(self, inputs: Arrays) -> Session:
        sizes = sizes_of(inputs, self._manifest)
        key = tuple(sorted(sizes.items()))
        with self._lock:
            if key not in self._known and len(self._known) >= MOST_SHAPES:
                key, sizes = (), {}
            if key not in self._known:
                self._known[key] = self._create(sizes)
            return self._known[key]


def sizes_of(inputs: Arrays, manifest: Manifest) -> dict[str, int]:
    """The size that each dynamic axis has in ``inputs``, by its name in the file.

    Args:
        inputs: Arrays by name.
        manifest: Of the model that takes them.
    """
    axes = manifest.axes or {one.name: one.shape for one in manifest.inputs}
    return {
        axis: array.shape[i]
        for name, array in inputs.items()
        for i, axis in enumerate(axes.get(name, ()))
        if isinstance(axis, str) and axis
    }

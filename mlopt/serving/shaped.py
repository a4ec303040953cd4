"""One session for each shape of inputs, so that none has a dynamic axis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from mlopt.serving import Session

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

MOST_SHAPES = 4
"""Shapes that get a session of their own; whatever comes after them shares one with dynamic axes."""

Axes = Mapping[str, Sequence[int | str]]
"""Of each input: its sizes, and the names that the file has for dynamic axes."""

Create = Callable[[Mapping[str, int]], Session]
"""Makes a session in which axes, by their names in the file, have fixed sizes."""


class ShapedSession:
    """A model that is prepared for the shapes that it is asked for.

    A provider that compiles a graph knows more of one without dynamic axes. The first inference of a
    shape pays for that.
    """

    def __init__(self, create: Create, axes: Axes) -> None:
        """Prepares; nothing is loaded before the first inputs are there.

        Args:
            create: Makes the sessions.
            axes: What the dynamic axes are called.
        """
        self._create = create
        self._axes = axes
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

    def nodes(self) -> dict[str, int] | None:
        """Those of the first session."""
        with self._lock:
            if not self._known:
                self._known[()] = self._create({})
            return next(iter(self._known.values())).nodes()

    def _session(self, inputs: Arrays) -> Session:
        sizes = sizes_of(inputs, self._axes)
        key = tuple(sorted(sizes.items()))
        with self._lock:
            if key not in self._known and len(self._known) >= MOST_SHAPES:
                key, sizes = (), {}
            if key not in self._known:
                self._known[key] = self._create(sizes)
            return self._known[key]


def sizes_of(inputs: Arrays, axes: Axes) -> dict[str, int]:
    """The size that each dynamic axis has in ``inputs``, by its name in the file.

    Args:
        inputs: Arrays by name.
        axes: Of the model that takes them.
    """
    return {
        axis: array.shape[i]
        for name, array in inputs.items()
        for i, axis in enumerate(axes.get(name, ()))
        if isinstance(axis, str) and axis
    }

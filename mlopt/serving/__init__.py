"""What a process needs that does nothing but serve a model: no records, no recipe, no user's code.

Pydantic and the records take longer to import than ONNX Runtime, and would stand in every cold
start and peak of memory that a timing worker measures, and between its launches. So whoever starts
such a process resolves everything beforehand, into an :class:`Opening` of plain values.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

__all__ = ["Binding", "Opening", "Session", "opener"]


class Session(Protocol):
    """A loaded model."""

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name for inputs by name; the batch axis is the first of each."""
        ...

    def bind(self, inputs: Arrays) -> Callable[[], object]:
        """One inference on these inputs, with nothing left to do but the inference."""
        ...

    def serving(self) -> AbstractContextManager[object]:
        """The context that a server would enter once, around all of its inferences."""
        ...

    def nodes(self) -> dict[str, int] | None:
        """How many nodes each provider took; None where there are no providers."""
        ...


class Binding(NamedTuple):
    """Where inputs and outputs are bound before the clock starts.

    Attributes:
        device: Kind of memory, as ONNX Runtime calls it: ``cpu``, ``cuda``.
        copies: Whether every inference copies its inputs there from the host, and its outputs back.
        replays: Whether an inference is captured once, as a CUDA graph, and replayed from then on.
    """

    device: str
    copies: bool = False
    replays: bool = False


class Opening(NamedTuple):
    """How a session is opened, in values that JSON can carry to another process.

    Attributes:
        function: ``module:function``; it returns a :class:`Session`.
        arguments: Keyword arguments for it.
    """

    function: str
    arguments: dict[str, Any]


def opener(opening: Opening) -> Callable[[], Session]:
    """What opens the session when it is called; mlopt's own code is imported before.

    So a cold start, which is timed from the call on, has the runtime's imports and none of ours.
    """
    module, _, name = opening.function.partition(":")
    return partial(getattr(importlib.import_module(module), name), **opening.arguments)

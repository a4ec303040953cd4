"""How the tables of bad inputs state what a message must say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mlopt.errors import MloptError

Refuses = Callable[..., object]


@pytest.fixture
def refuses() -> Refuses:
    """A context in which exactly this class of error is raised, one line for each message."""

    @contextmanager
    def expect(kind: type[MloptError], *lines: str) -> Iterator[None]:
        with pytest.raises(MloptError) as caught:
            yield
        assert str(caught.value).split("\n") == list(lines)
        assert type(caught.value) is kind

    return expect

"""Every kind of Hugging Face directory, made once, as an artifact beside its data."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from directory_bench import Prepared, prepare
from tiny_models import MAKERS


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    """What is prepared of each task, once for all tests."""
    made: dict[str, Prepared] = {}

    def of(task: str) -> Prepared:
        if task not in made:
            project = tmp_path_factory.mktemp(task) / "project"
            project.mkdir()
            MAKERS[task](project / "model")
            made[task] = prepare(project, task)
        return made[task]

    return of

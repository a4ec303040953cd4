"""The contract of a runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from mlopt.serving import Opening, Session
from mlopt.types.artifact import Artifact, Format, Manifest
from mlopt.types.record import Record

if TYPE_CHECKING:
    from mlopt.providers import Provider

Threads = Annotated[int, Field(gt=0)] | Literal["auto"]


class Runner(Record):
    """What executes an artifact. Its fields are the session settings that ship with a candidate.

    Attributes:
        name: Also the name of its file.
        summary: One line for ``mlopt doctor``.
        formats: Formats of the artifacts that it executes.
        environment: Variables of a process that does nothing but serve with it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    formats: ClassVar[tuple[Format, ...]]
    environment: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def known(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of ``settings`` that it has; another runner may have more."""
        return {name: value for name, value in settings.items() if name in cls.model_fields}

    def resolve(self, cpus: int) -> Self:
        """The same runner with every ``auto`` replaced by what this machine wants.

        Args:
            cpus: Logical processors that may be used.
        """
        return self

    def shown(self) -> dict[str, Any]:
        """The settings that a reader should see, by their names; all of them ship."""
        return self.model_dump(mode="json")

    def unavailable_because(self) -> str | None:
        """Why it cannot be used here and how to mend that, in one line; None when it can."""
        raise NotImplementedError(f"{type(self).__name__} must define unavailable_because")

    def opening(self, artifact: Artifact, provider: Provider, project_dir: Path) -> Opening | None:
        """How a process that does nothing but serve ``artifact`` opens it; None: as any other does.

        It is asked for before that process starts, with the arguments of :meth:`open`; only of mlopt's
        own runners and providers, for a plug-in's code may hang or kill where it runs.
        """
        return None

    def open(self, artifact: Artifact, provider: Provider, project_dir: Path) -> Session:
        """Loads ``artifact``. Runs in a worker process.

        Args:
            artifact: In one of :attr:`formats`.
            provider: Where it should run.
            project_dir: Where the user's code is imported from, if the artifact needs it.

        Raises:
            ModelError: It cannot be loaded.
        """
        raise NotImplementedError(f"{type(self).__name__} must define open")


def axes_of(manifest: Manifest) -> Mapping[str, Sequence[int | str]]:
    """The sizes of each input, and the names that the file has for those that are dynamic."""
    return manifest.axes or {one.name: one.shape for one in manifest.inputs}

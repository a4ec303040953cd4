"""Everything that a user can cause, as one family of exceptions.

An error says what failed, what was found and what was expected, and how to mend it. Only the
command line catches :class:`MloptError`; the Python API lets it through.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class MloptError(Exception):
    """Base of the family.

    Attributes:
        exit_code: What the command line returns for it.
    """

    exit_code = 2


class ConfigError(MloptError):
    """A mistake in a file or an option that the user wrote."""


class ModelError(MloptError):
    """The model cannot be loaded, or does not do what the project says."""


class DataError(MloptError):
    """The data breaks the contract that the project file states."""


class UnavailableError(MloptError):
    """A provider, runner or optional dependency that this machine does not have."""


class RunError(MloptError):
    """A stored run that cannot be read."""


class BuildError(MloptError):
    """A pass could not do its work on this model. It costs the candidate, not the run."""


class WorkerError(MloptError):
    """A worker process ended before it answered. It costs the candidate, not the run."""

    exit_code = 1


class Problems:
    """Collects the mistakes of one file, so that all of them are reported at once.

    Example:
        >>> problems = Problems("mlopt.yaml")
        >>> problems.add("budget[0]", "'p98' is no quantity; did you mean 'p99'?")
        >>> problems.raise_if_any(ConfigError)
        Traceback (most recent call last):
        mlopt.errors.ConfigError: mlopt.yaml, budget[0]: 'p98' is no quantity; did you mean 'p99'?
    """

    def __init__(self, source: str) -> None:
        """Starts an empty collection for ``source``, the file's name as the user knows it."""
        self.source = source
        self._lines: list[str] = []

    def add(self, place: str, message: str) -> None:
        """Notes one mistake at ``place`` (a path of keys, or empty for the file as a whole)."""
        self._lines.append(
            f"{self.source}, {place}: {message}" if place else f"{self.source}: {message}"
        )

    def __bool__(self) -> bool:
        return bool(self._lines)

    def raise_if_any(self, kind: type[MloptError] = ConfigError) -> None:
        """Raises ``kind`` with one line for each mistake.

        Raises:
            MloptError: Of the class ``kind``, when there is at least one mistake.
        """
        if self._lines:
            raise kind("\n".join(self._lines))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message for a misspelt ``word``: a near match, or what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.55)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known: {listing(names)}."


def listing(names: Sequence[str]) -> str:
    """``a, b and c``, or ``none``."""
    if not names:
        return "none"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"

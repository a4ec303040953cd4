"""The cache of built artifacts and data snapshots, shared by all runs of a user.

An entry is a directory under its key. It is built beside its place and moved there in one step,
so that a reader never sees half of one and two runs at once are safe; the second waits for the
first and takes its result.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import filelock
import platformdirs

ENVIRONMENT_VARIABLE = "MLOPT_CACHE_DIR"


KINDS = ("artifacts", "data", "checkpoints")


class CacheEntry(NamedTuple):
    """One entry, as ``mlopt cache`` shows it."""

    kind: str
    key: str
    size_bytes: int
    last_used: float


def default_cache_dir() -> Path:
    """``$MLOPT_CACHE_DIR``, or the platform's place for caches."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("mlopt", appauthor=False))


class Cache:
    """Directories by kind and key."""

    def __init__(self, root: Path) -> None:
        """Opens the cache at ``root``; it is made when something is stored."""
        self.root = root

    def find(self, kind: str, key: str) -> Path | None:
        """The directory of an entry, marked as used now; None when it is not there."""
        place = self._place(kind, key)
        if not place.is_dir():
            return None
        os.utime(place)
        return place

    def get_or_build(self, kind: str, key: str, build: Callable[[Path], None]) -> tuple[Path, bool]:
        """The entry, built by ``build(directory)`` if it is not there.

        Args:
            kind: ``artifacts`` or ``data``.
            key: Hash of everything that shapes the entry.
            build: Fills an existing empty directory. When it raises, nothing is stored.

        Returns:
            The directory, and whether it was there already.
        """
        if (place := self.find(kind, key)) is not None:
            return place, True
        with self._lock(kind, key):
            if (place := self.find(kind, key)) is not None:
                return place, True
            with self.workspace() as workspace:
                build(workspace)
                place = self._place(kind, key)
                place.parent.mkdir(parents=True, exist_ok=True)
                workspace.replace(place)
        return place, False

    def checkpoints(self, key: str) -> Path:
        """The directory for what a long build of the artifact ``key`` goes on from after a kill.

        It may not exist. Who builds holds the artifact's lock, so it has one user at a time.
        """
        return self._place("checkpoints", key)

    def forget_checkpoints(self, key: str) -> None:
        """Removes the directory: the build is done."""
        shutil.rmtree(self._place("checkpoints", key), ignore_errors=True)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty directory on the cache's file system; removed at the end if still there."""
        parent = self.root / "tmp"
        parent.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def entries(self) -> list[CacheEntry]:
        """All entries, the least recently used first."""
        found = []
        for kind in KINDS:
            for place in (self.root / kind).glob("*/*"):
                size = sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
                found.append(CacheEntry(kind, place.name, size, place.stat().st_mtime))
        return sorted(found, key=lambda entry: entry.last_used)

    def directories(self, kind: str) -> Iterator[Path]:
        """The directories of all entries of a kind, in no order; none counts as used by that."""
        yield from (self.root / kind).glob("*/*")

    def prune(self, *, older_than_s: float = 0.0, max_bytes: int | None = None) -> list[CacheEntry]:
        """Removes entries unused for ``older_than_s``.

        Args:
            older_than_s: Seconds since the last use; 0: all entries.
            max_bytes: Remove only as many of them, the least recently used first, as it takes for
                the cache to have this size; None: remove them all.

        Returns:
            What was removed.
        """
        entries = self.entries()
        limit = time.time() - older_than_s
        doomed = [e for e in entries if e.last_used <= limit]
        if max_bytes is not None:
            excess = sum(e.size_bytes for e in entries) - max_bytes
            before = itertools.accumulate((e.size_bytes for e in doomed), initial=0)
            doomed = [e for e, freed in zip(doomed, before, strict=False) if freed < excess]
        return [entry for entry in doomed if self._remove(entry)]

    def _remove(self, entry: CacheEntry) -> bool:
        """Removes an entry, unless somebody is at work on it."""
        try:
            with self._lock(entry.kind, entry.key).acquire(blocking=False):
                shutil.rmtree(self._place(entry.kind, entry.key), ignore_errors=True)
        except filelock.Timeout:
            return False
        return True

    def _place(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def _lock(self, kind: str, key: str) -> filelock.BaseFileLock:
        directory = self.root / "locks"
        directory.mkdir(parents=True, exist_ok=True)
        owner = "artifacts" if kind == "checkpoints" else kind  # they are an artifact's, half built
        return filelock.FileLock(directory / f"{owner}-{key}.lock")

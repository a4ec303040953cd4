"""``mlopt cache``: where built artifacts are kept, how large they are, and removing them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from mlopt.errors import ConfigError
from mlopt.store.cache import ENVIRONMENT_VARIABLE, Cache, CacheEntry, default_cache_dir

DAY_S = 86_400.0
MB = 10**6


class CacheListing(NamedTuple):
    """The cache as it stands.

    Attributes:
        entries: The least recently used first.
    """

    directory: Path
    entries: list[CacheEntry]

    @property
    def size_bytes(self) -> int:
        """Bytes of all entries."""
        return sum(entry.size_bytes for entry in self.entries)

    def document(self) -> dict[str, Any]:
        """What ``mlopt cache --json`` prints."""
        return {
            "directory": str(self.directory),
            "size_bytes": self.size_bytes,
            "entries": [entry._asdict() for entry in self.entries],
        }


def cache_entries() -> CacheListing:
    """Lists the cache of this user.

    Raises:
        ConfigError: It cannot be read.
    """
    directory = default_cache_dir()
    try:
        return CacheListing(directory, Cache(directory).entries())
    except OSError as e:
        raise _unusable(directory, e) from e


def prune_cache(
    *,
    older_than_days: float | None = None,
    max_mb: float | None = None,
    everything: bool = False,
) -> list[CacheEntry]:
    """Removes entries of the cache. They are built again when a run needs them.

    Args:
        older_than_days: Remove what was unused for that long.
        max_mb: Then remove the least recently used until the rest has at most this size;
            MB is 10^6 bytes.
        everything: Remove all.

    Returns:
        What was removed.

    Raises:
        ConfigError: Nothing says what to remove, a number is negative, or the cache cannot be
            written to.
    """
    if older_than_days is None and max_mb is None and not everything:
        raise ConfigError("say what to remove: --older-than DAYS, --max-size MB or --all.")
    for option, value in (("--older-than", older_than_days), ("--max-size", max_mb)):
        if value is not None and not 0 <= value < float("inf"):
            raise ConfigError(f"{option} must be 0 or more, and is {value:g}.")
    directory = default_cache_dir()
    cache = Cache(directory)
    removed: list[CacheEntry] = []
    try:
        if everything:
            return cache.prune()
        if older_than_days is not None:
            removed += cache.prune(older_than_s=older_than_days * DAY_S)
        if max_mb is not None:
            removed += cache.prune(max_bytes=int(max_mb * MB))
    except OSError as e:
        raise _unusable(directory, e) from e
    return removed


def _unusable(directory: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the cache in {directory} cannot be used: {error.strerror}. "
        f"Mend its permissions, or choose another place with {ENVIRONMENT_VARIABLE}."
    )

"""``api.cache_entries`` and ``api.prune_cache``, on a real cache."""

import os
import time

import pytest

from mlopt import api
from mlopt.errors import ConfigError
from mlopt.store.cache import Cache

DAY_S = 86_400


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Three entries of 1000 bytes, unused for 1, 10 and 100 days."""
    monkeypatch.setenv("MLOPT_CACHE_DIR", str(tmp_path))
    cache = Cache(tmp_path)
    for days in (1, 10, 100):
        key = f"{days:04}"
        place, _ = cache.get_or_build(
            "artifacts", key, lambda directory: (directory / "file").write_bytes(bytes(1000))
        )
        then = time.time() - days * DAY_S
        os.utime(place, (then, then))
    return cache


def keys(entries):
    return [entry.key for entry in entries]


def test_listing_has_place_size_and_entries_the_oldest_first(cache):
    listing = api.cache_entries()
    assert listing.directory == cache.root
    assert listing.size_bytes == 3000
    assert keys(listing.entries) == ["0100", "0010", "0001"]
    assert listing.document()["size_bytes"] == 3000


def test_an_empty_cache_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("MLOPT_CACHE_DIR", str(tmp_path / "none"))
    assert api.cache_entries().entries == []
    assert api.prune_cache(everything=True) == []


def test_entries_are_pruned_by_age(cache):
    assert keys(api.prune_cache(older_than_days=5)) == ["0100", "0010"]
    assert keys(cache.entries()) == ["0001"]


def test_entries_are_pruned_by_size_the_oldest_first(cache):
    assert keys(api.prune_cache(max_mb=0.0025)) == ["0100"]


def test_age_and_size_are_both_kept(cache):
    assert keys(api.prune_cache(older_than_days=50, max_mb=0.001)) == ["0100", "0010"]


def test_everything_is_pruned_on_request(cache):
    assert len(api.prune_cache(everything=True)) == 3
    assert cache.entries() == []


def test_pruning_without_saying_what_is_refused(cache):
    with pytest.raises(ConfigError, match="--older-than DAYS, --max-size MB or --all"):
        api.prune_cache()
    assert len(cache.entries()) == 3


@pytest.mark.parametrize("limits", [{"older_than_days": -1.0}, {"max_mb": -1.0}])
def test_a_negative_limit_is_refused(cache, limits):
    with pytest.raises(ConfigError, match="must be 0 or more"):
        api.prune_cache(**limits)
    assert len(cache.entries()) == 3

"""Files that mlopt keeps: hashes, arrays, snapshots of data, the cache and the run directory."""

"""Which examples belong to the user's slices, and which belong together in a group.

Runs in a worker process: both are the user's own code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlopt.errors import ConfigError, DataError
from mlopt.store.snapshot import Snapshot
from mlopt.workers.usercode import describe, load_object

Array = np.ndarray[Any, Any]

_SLICE = "slice "
_GROUPS = "groups"


class Members(NamedTuple):
    """Slices and groups of one split.

    Attributes:
        slices: Boolean mask of each of the user's slices, shape (N,).
        groups: The group of each example, from 0 on, shape (N,); None where there are none.
    """

    slices: dict[str, Array]
    groups: Array | None

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        split: str,
        slices: Mapping[str, str],
        groups: str | None,
        project_dir: Path,
    ) -> Members:
        """Calls the user's functions on a split.

        Args:
            snapshot: Of the split.
            split: Its name.
            slices: Function (``module:function``) of each slice, by its name.
            groups: Function that labels the examples; None: they are independent.
            project_dir: Where the user's code is imported from.

        Raises:
            ConfigError: A function cannot be imported, raises, or returns something else.
        """
        masks = {
            name: mask_of(name, function, snapshot, split, project_dir)
            for name, function in slices.items()
        }
        if groups is None:
            return cls(masks, None)
        labels = labels_of(groups, snapshot, split, project_dir)
        return cls(masks, np.unique(labels, return_inverse=True)[1].reshape(-1))

    def write(self, path: Path) -> None:
        """Writes both as one ``.npz``."""
        arrays = {_SLICE + name: mask for name, mask in self.slices.items()}
        if self.groups is not None:
            arrays[_GROUPS] = self.groups
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # as in store.files

    @classmethod
    def read(cls, path: Path) -> Members:
        """Reads what :meth:`write` wrote."""
        with np.load(path, allow_pickle=False) as file:
            masks = {
                name.removeprefix(_SLICE): file[name]
                for name in file.files
                if name.startswith(_SLICE)
            }
            return cls(masks, file[_GROUPS] if _GROUPS in file.files else None)


def mask_of(name: str, function: str, snapshot: Snapshot, split: str, project_dir: Path) -> Array:
    """The mask of one of the user's slices, shape (N,).

    Args:
        name: Of the slice.
        function: ``module:function``; called with the inputs, as memory maps by name, and targets.
        snapshot: Of the split.
        split: Its name.
        project_dir: Where the user's code is imported from.

    Raises:
        ConfigError: It cannot be imported, raises, or returns no mask that holds an example.
    """
    place = f"slices ({name})"
    mask = _call(function, snapshot, split, project_dir, place)
    if mask.dtype != np.bool_ or mask.shape != (snapshot.examples,):
        raise ConfigError(
            f"{place}: '{function}' returned {mask.dtype} of shape {list(mask.shape)} on "
            f"data.{split}; it must return one boolean for each of the {snapshot.examples} examples."
        )
    if not mask.any():
        raise ConfigError(
            f"{place}: '{function}' marks none of the {snapshot.examples} examples of data.{split}. "
            "Give the split some, or leave the slice out."
        )
    return mask


def labels_of(function: str, snapshot: Snapshot, split: str, project_dir: Path) -> Array:
    """The user's label of each example, shape (N,): integers or text.

    Args:
        function: ``module:function``; called with the inputs, as memory maps by name, and targets.
        snapshot: Of the split.
        split: Its name.
        project_dir: Where the user's code is imported from.

    Raises:
        ConfigError: It cannot be imported, raises, or returns anything else.
    """
    labels = _call(function, snapshot, split, project_dir, "groups")
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(np.str_)
    if labels.dtype.kind not in "iubUS" or labels.shape != (snapshot.examples,):
        raise ConfigError(
            f"groups: '{function}' returned {labels.dtype} of shape {list(labels.shape)} on "
            f"data.{split}; it must return one label, an integer or text, for each of the "
            f"{snapshot.examples} examples."
        )
    return labels


def check_leak(labels: Mapping[str, Array], allowed: frozenset[frozenset[str]]) -> None:
    """Checks that no group lies in two splits.

    Args:
        labels: Of each split that has any.
        allowed: Pairs of splits that may share groups.

    Raises:
        DataError: Two splits share a group: what is known of it in one leaks into the other.
    """
    names = list(labels)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if frozenset({first, second}) in allowed:
                continue
            shared = sorted(set(labels[first].tolist()) & set(labels[second].tolist()), key=str)
            if shared:
                raise DataError(
                    f"groups: data.{first} and data.{second} share {len(shared)} groups, such as "
                    f"{shared[0]!r}. Examples of one group are alike, and a number measured on them "
                    "flatters: give all of a group to one split. If these are two groups, give them "
                    "two labels."
                )


def _call(function: str, snapshot: Snapshot, split: str, project_dir: Path, place: str) -> Array:
    loaded = load_object(function, project_dir, place)
    try:
        answer: Array = np.asarray(loaded(dict(snapshot.inputs), snapshot.targets))
    except Exception as e:
        raise ConfigError(
            f"{place}: '{function}' raised {describe(e, project_dir)} on data.{split}. It must take "
            "(inputs, targets), the inputs as arrays by name."
        ) from e
    return answer

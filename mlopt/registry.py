"""A folder as a registry: one file is one entry, and no list names them all.

Entries also come from other packages, through the entry point group of the folder's name.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from mlopt.errors import ConfigError, did_you_mean

T = TypeVar("T")


class Folder(Generic[T]):
    """The classes derived from ``base`` in the modules of ``package``, by their ``name``."""

    def __init__(self, package: str, base: type[T], noun: str) -> None:
        """Names the folder.

        Args:
            package: Dotted name of the package, and of the entry point group.
            base: What every entry derives from.
            noun: What one entry is called in messages.
        """
        self.package = package
        self.base = base
        self.noun = noun

    @cached_property
    def entries(self) -> dict[str, type[T]]:
        """Every entry by its name, in alphabetical order."""
        found = [self._in_module(f"{self.package}.{name}") for name in self._module_names()]
        found += [self._from_plugin(point) for point in entry_points(group=self.package)]
        named: dict[str, type[T]] = {}
        for entry in found:
            first = named.setdefault(_name(entry), entry)
            if first is not entry:
                raise ConfigError(
                    f"two entries are the {self.noun} '{_name(entry)}': {first.__module__} and "
                    f"{entry.__module__}. Uninstall the package of one of them."
                )
        return dict(sorted(named.items()))

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __getitem__(self, name: str) -> type[T]:
        """The entry called ``name``.

        Raises:
            ConfigError: There is none; the message names near matches.
        """
        if "entries" not in vars(self) and (own := self.own_file(name)) is not None:
            return own
        try:
            return self.entries[name]
        except KeyError:
            message = f"unknown {self.noun} '{name}'. {did_you_mean(name, self.entries)}"
            raise ConfigError(message) from None

    def own_file(self, name: str) -> type[T] | None:
        """The entry in the file called ``name``; None where there is no such file.

        No other file is loaded, nor any plug-in: a worker uses one entry, and its start is measured.
        """
        if name not in self._module_names():
            return None
        entry = self._in_module(f"{self.package}.{name}")
        return entry if _name(entry) == name else None

    def _module_names(self) -> list[str]:
        path = importlib.import_module(self.package).__path__
        return [m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")]

    def _from_plugin(self, point: EntryPoint) -> type[T]:
        package = point.dist.name if point.dist is not None else point.value
        try:
            entry = point.load()
        except Exception as e:  # somebody else's code
            raise ConfigError(
                f"the {self.noun} '{point.name}' of the package {package} cannot be loaded "
                f"({type(e).__name__}: {e}). Update or uninstall {package}."
            ) from e
        if isinstance(entry, type) and issubclass(entry, self.base):
            return entry
        raise ConfigError(
            f"the {self.noun} '{point.name}' of the package {package} is no "
            f"{self.base.__name__}. Update or uninstall {package}."
        )

    def _in_module(self, module: str) -> type[T]:
        own = [
            value
            for value in vars(importlib.import_module(module)).values()
            if isinstance(value, type)
            and issubclass(value, self.base)
            and value.__module__ == module
        ]
        if len(own) != 1:
            raise TypeError(f"{module} must define exactly one {self.noun}, and defines {len(own)}")
        return own[0]


def _name(entry: type) -> str:
    return str(entry.name)  # type: ignore[attr-defined]  # every base declares it

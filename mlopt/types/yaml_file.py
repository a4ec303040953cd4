"""Reading a YAML file that a user wrote."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from mlopt.errors import ConfigError


def read_yaml(path: Path, shown: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: The file.
        shown: Its name as the user knows it, for messages.

    Raises:
        ConfigError: It cannot be read, is no YAML, holds a key twice, or is no mapping.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a mapping that has a key twice, of which YAML keeps the last in silence."""

        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise ConfigError(
                        f"{shown}, line {line}: the key '{key.value}' stands there twice."
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506  # a SafeLoader
    except UnicodeDecodeError as e:
        raise ConfigError(f"{shown} is no text in UTF-8. Save it as UTF-8.") from e
    except OSError as e:
        raise ConfigError(f"{shown} cannot be read: {e.strerror}.") from e
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{shown}{where} is no valid YAML: {getattr(e, 'problem', e)}.") from e
    if not isinstance(content, dict):
        found = "empty" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{shown} should be a mapping of keys to values, and is {found}.")
    return {str(key): value for key, value in content.items()}

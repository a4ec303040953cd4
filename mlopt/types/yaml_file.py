"""Reading a YAML file that a user wrote."""

from __future__ import annotations

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

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    line = key.start_mark.line + 1
                    raise ConfigError(
                        f"{shown}, line {line}: the key '{key.value}' stands there twice. "
                        "Keep one of them."
                    )
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            return node

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506  # a SafeLoader
    except UnicodeDecodeError as e:
        raise ConfigError(f"{shown} is no text in UTF-8. Save it as UTF-8.") from e
    except OSError as e:
        raise ConfigError(f"{shown} cannot be read: {e.strerror}.") from e
    except ConfigError:
        raise
    except RecursionError as e:
        raise ConfigError(f"{shown} is nested too deeply. Write it in fewer levels.") from e
    except Exception as e:  # besides YAMLError whatever int() and date() raise
        mark = getattr(e, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = str(getattr(e, "problem", e)).strip().split("\n")[0]
        raise ConfigError(f"{shown}{where} is no valid YAML: {problem}.") from e
    if not isinstance(content, dict):
        found = "empty" if content is None else f"a {type(content).__name__}"
        raise ConfigError(f"{shown} should be a mapping of keys to values, and is {found}.")
    return {str(key): value for key, value in content.items()}

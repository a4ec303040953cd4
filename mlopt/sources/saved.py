"""What ``save_pretrained`` left beside the weights to prepare inputs with: is it all there?"""

from __future__ import annotations

import json
import re
from pathlib import Path

from mlopt.errors import ModelError
from mlopt.frameworks.huggingface import brings_code, first_line
from mlopt.types.torch_model import HuggingFace

TOKENIZER_CONFIG = "tokenizer_config.json"

TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "*.model", "*.spm", "bpe.codes")
"""One of these is in every directory with a tokenizer."""

WITH_CODE = (TOKENIZER_CONFIG, "preprocessor_config.json")
"""Files that may name classes that come with the directory."""

DIRECTORIES = re.compile(r"(?<![\w.:/])/(?:[^\s'\":,/]+/)+")
"""The directories of an absolute path, not those of an address."""


def code_problem(directory: Path, model: HuggingFace) -> str | None:
    """Why a tokenizer or an image processor may not be loaded; None: it brings no code, or may."""
    if model.trust_remote_code:
        return None
    for name in WITH_CODE:
        try:
            config = json.loads((directory / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or damaged: whoever loads it says so
            continue
        if isinstance(config, dict) and brings_code(config):
            return (
                f"'{directory.name}' comes with code of its own ('auto_map' in {name}), which mlopt "
                "runs only when told to. Read it, then add 'trust_remote_code: true' under 'model'."
            )
    return None


def require_tokenizer(directory: Path) -> None:
    """Checks that there is a tokenizer: transformers fails without one in many ways.

    Raises:
        ModelError: There is none.
    """
    if not any(path.is_file() for pattern in TOKENIZER for path in directory.glob(pattern)):
        raise ModelError(
            f"model: the directory '{directory.name}' has no tokenizer: save it there with "
            f"tokenizer.save_pretrained('{directory.name}')."
        )


def unreadable(what: str, directory: Path, error: Exception) -> ModelError:
    """What to say when transformers cannot read ``what``: one line, without absolute paths."""
    line = first_line(error)
    for parent in (directory.parent, directory.parent.resolve()):
        line = line.replace(f"{parent}/", "")
    line = DIRECTORIES.sub("", line)
    return ModelError(
        f"model: the {what} in '{directory.name}' cannot be read ({type(error).__name__}: {line}). "
        f"Save it there again with save_pretrained('{directory.name}')."
    )

"""``mlopt init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlopt.cli.console import print_note, print_text
from mlopt.cli.options import Debug

Directory = Annotated[Path, typer.Argument(help="Where to write mlopt.yaml.", show_default=False)]
Onnx = Annotated[
    str | None,
    typer.Option("--onnx", metavar="FILE", help="Start from an .onnx file, not from PyTorch."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an mlopt.yaml that is there.")]


def init(
    directory: Directory = Path(),
    onnx: Onnx = None,
    force: Force = False,
    _debug: Debug = False,
) -> None:
    """Write a commented mlopt.yaml to start from."""
    from mlopt import api
    from mlopt.cli.summary import display_path

    file = api.init(directory, onnx=onnx, force=force)
    print_text(f"{display_path(file)}\n")
    code = "the data functions" if onnx else "model.py, data.py and the weights"
    print_note(
        f"Next: put {code} beside it, fill it in, and check all of it with "
        f"'mlopt optimize {display_path(file.parent)} --dry-run'."
    )

"""From what a pass left in its workspace to an immutable artifact."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlopt.errors import BuildError
from mlopt.store.files import write_atomically
from mlopt.store.hashing import sha256_file, sha256_json
from mlopt.types.artifact import MANIFEST, FileEntry, Format, LineageStep, Manifest
from mlopt.types.passes import Draft
from mlopt.types.torch_model import ASSETS


def seal(
    directory: Path, draft: Draft, kind: Format, lineage: tuple[LineageStep, ...], key: str
) -> Manifest:
    """Hashes every file in ``directory`` and writes its manifest.

    Raises:
        BuildError: The main file is not there: the pass did not do what it said.
    """
    if not (directory / draft.main).is_file():
        raise BuildError(f"'{lineage[-1].transformation}' said it wrote {draft.main}, and did not")
    files = {
        path.relative_to(directory).as_posix(): FileEntry(
            sha256=sha256_file(path), size_bytes=path.stat().st_size
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    manifest = Manifest(
        format=kind,
        main=draft.main,
        files=files,
        inputs=draft.inputs,
        outputs=draft.outputs,
        lineage=lineage,
        key=key,
        axes=_axes(directory / draft.main) if kind == "onnx" else {},
    )
    write_atomically(directory / MANIFEST, manifest.model_dump_json(indent=1))
    return manifest


def _axes(model: Path) -> dict[str, tuple[int | str, ...]]:
    """Sizes and names of the axes of an ONNX file's inputs; an axis without either has the name ''."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(model), load_external_data=False).graph
    except DecodeError:  # who opens the file says what is wrong with it
        return {}
    weights = {tensor.name for tensor in graph.initializer}
    return {
        one.name: tuple(
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param
            for axis in one.type.tensor_type.shape.dim
        )
        for one in graph.input
        if one.name not in weights
    }


def carry_assets(source: Path, target: Path) -> None:
    """Copies the assets of one artifact to another that was made of it."""
    if (source / ASSETS).is_dir():
        shutil.copytree(source / ASSETS, target / ASSETS, dirs_exist_ok=True)


def artifact_sha256(manifest: Manifest) -> str:
    """One hash over all files of an artifact."""
    return sha256_json({name: entry.sha256 for name, entry in manifest.files.items()})

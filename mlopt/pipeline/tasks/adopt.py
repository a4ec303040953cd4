"""Make an artifact and a pool of inputs out of a bare ONNX file. Runs in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlopt.errors import ModelError
from mlopt.pipeline.seal import seal
from mlopt.sources.contract import check_inputs
from mlopt.sources.data.npz import NpzData
from mlopt.sources.models.onnx_file import OnnxModel
from mlopt.store.snapshot import Snapshot, SnapshotWriter
from mlopt.types.artifact import LineageStep
from mlopt.types.tensors import TensorSpec, fixed_batch

SYNTHETIC_EXAMPLES = 256
DYNAMIC_SIZE = 128
"""Size of a dynamic axis other than the batch, in synthetic inputs."""


def adopt(onnx: str, workspace: str, snapshot: str, data: str | None, seed: int) -> dict[str, Any]:
    """Writes the artifact into ``workspace`` and inputs into ``snapshot``.

    Args:
        onnx: The file.
        workspace: Empty directory for the artifact.
        snapshot: Directory for the inputs; it does not exist yet.
        data: An ``.npz`` file with an array for each input; None: synthetic inputs.
        seed: For synthetic inputs.

    Returns:
        ``fixed_batch``: the batch size that the model insists on, or None.

    Raises:
        ModelError: The file is damaged, or does not accept the inputs.
        DataError: The data does not fit the model's inputs.
    """
    path = Path(onnx)
    model = OnnxModel(onnx=path.name)
    inputs = model.declared_inputs(path.parent)
    if not inputs:
        raise ModelError(f"{path.name} takes no input: there is nothing to time.")
    fixed = fixed_batch(inputs)
    with SnapshotWriter(Path(snapshot)) as writer:
        if data is None:
            writer.append(synthetic_inputs(inputs, SYNTHETIC_EXAMPLES, seed), None)
        else:
            source = NpzData(npz=Path(data).name)
            names = tuple(spec.name for spec in inputs)
            for batch in source.batches(Path(data).parent, names, "--data"):
                writer.append(check_inputs(batch.inputs, inputs, "--data"), None)
        writer.finish()
    example = next(Snapshot(Path(snapshot)).batches(fixed or 1))
    draft = model.materialise(Path(workspace), path.parent, inputs, (), example)
    lineage = LineageStep(transformation="source", parameters={"onnx": path.name})
    seal(Path(workspace), draft, "onnx", (lineage,), "")
    return {"fixed_batch": fixed}


def synthetic_inputs(
    inputs: tuple[TensorSpec, ...], examples: int, seed: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Random inputs: normal floats, and integers 0 or 1, which index any table.

    Dynamic axes but the batch get a size of :data:`DYNAMIC_SIZE`.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for spec in inputs:
        sizes = [DYNAMIC_SIZE if isinstance(size, str) else size for size in spec.shape[1:]]
        shape = (examples, *sizes)
        values = rng.normal(size=shape) if "float" in spec.dtype else rng.integers(0, 2, size=shape)
        found[spec.name] = values.astype(spec.dtype)
    return found

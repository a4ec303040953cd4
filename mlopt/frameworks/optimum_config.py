"""What optimum knows of the models of transformers: their inputs, their outputs, their axes."""

from __future__ import annotations

from typing import Any

from mlopt.frameworks.huggingface import missing_libraries, transformers_library
from mlopt.types.tensors import BATCH, TensorSpec

AXES = {
    "batch_size": BATCH,
    "sequence_length": "sequence",
    "num_channels": "channels",
    "height": "height",
    "width": "width",
}
"""Names of the dynamic axes: optimum's and ours."""


def onnx_config(config: Any, task: str) -> Any:
    """What optimum knows of a model's inputs, outputs and export.

    Args:
        config: Of transformers.
        task: As Hugging Face calls it.

    Returns:
        An ``optimum.exporters.onnx.OnnxConfig``; None when optimum does not know the model.

    Raises:
        UnavailableError: optimum is not installed.
    """
    transformers_library()
    try:
        import optimum.exporters.onnx.model_configs  # noqa: F401  # fills the table below
        from optimum.exporters.tasks import TasksManager
    except ImportError as e:
        raise missing_libraries(e) from e
    try:
        constructor = TasksManager.get_exporter_config_constructor(
            "onnx", model_type=config.model_type, task=task, library_name="transformers"
        )
    except (KeyError, ValueError):
        return None
    return constructor(config)


def input_specs(config: Any, task: str) -> tuple[TensorSpec, ...] | None:
    """The inputs as optimum exports them; None when it does not know the model.

    An image has the size that the configuration states, if it states one: most vision
    transformers take no other.
    """
    export = onnx_config(config, task)
    if export is None:
        return None
    examples = export.generate_dummy_inputs(framework="np")
    specs = []
    for name, axes in export.inputs.items():
        sizes: list[int | str] = list(examples[name].shape)
        for axis, called in axes.items():
            sizes[axis] = AXES.get(called, called)
        if name == "pixel_values":
            sizes[1:] = _image_shape(config, sizes[1:])
        dtype = str(examples[name].dtype)
        specs.append(TensorSpec.model_validate({"name": name, "dtype": dtype, "shape": sizes}))
    return tuple(specs)


def _image_shape(config: Any, otherwise: list[int | str]) -> list[int | str]:
    size = getattr(config, "image_size", None)
    sides = list(size) if isinstance(size, list | tuple) else [size, size]
    stated = [getattr(config, "num_channels", None), *sides]
    return [own or other for own, other in zip(stated, otherwise, strict=True)]


def output_axes(config: Any, task: str) -> dict[str, dict[int, str]]:
    """The dynamic axes of each output beside the batch, as far as optimum knows them."""
    export = onnx_config(config, task)
    if export is None:
        return {}
    return {
        name: {axis: AXES.get(called, called) for axis, called in axes.items() if axis > 0}
        for name, axes in export.outputs.items()
    }

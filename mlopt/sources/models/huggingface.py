"""A directory as ``save_pretrained`` of transformers writes it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from mlopt.errors import ModelError
from mlopt.frameworks.cost import count_cost
from mlopt.frameworks.huggingface import (
    CONFIG,
    TASKS,
    brings_code,
    config_problem,
    load_pretrained,
    read_config,
)
from mlopt.frameworks.optimum_config import input_specs, output_axes
from mlopt.frameworks.torch_module import as_tensors, call_module, name_outputs, save_module
from mlopt.sources.models._base import ModelSource, output_specs
from mlopt.sources.preprocessing import Preprocessor, preprocessor_of
from mlopt.sources.saved import code_problem
from mlopt.types.artifact import Format
from mlopt.types.passes import Draft
from mlopt.types.task import Task
from mlopt.types.tensors import TensorSpec
from mlopt.types.torch_model import ASSETS, HuggingFace, TorchModel
from mlopt.workers.usercode import describe

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
)
"""The files with the weights, in the order in which transformers looks for them."""

OTHERS = (
    CONFIG, "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt",
    "*.model", "*.spm", "bpe.codes", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
"""What a tokenizer or an image processor is made of, and the configuration."""

CODE = "*.py"


class HuggingFaceModel(ModelSource):
    """A model of transformers: an encoder of text, or a vision model.

    Attributes:
        huggingface: The directory.
        hf_task: What it is used for, ``task`` in mlopt.yaml.
        trust_remote_code: Whether code that lies in the directory may run.
        max_length: Most tokens of a text; longer ones are cut. Default: what the tokenizer says,
            and at most what the model has positions for.
    """

    name: ClassVar[str] = "huggingface"
    summary: ClassVar[str] = "a directory of Hugging Face transformers"
    produces: ClassVar[Format] = "torch"

    model_config = ConfigDict(serialize_by_alias=True)

    huggingface: str
    hf_task: Literal[
        "text-classification",
        "token-classification",
        "question-answering",
        "feature-extraction",
        "image-classification",
    ] = Field(alias="task")
    trust_remote_code: bool = False
    max_length: Annotated[int, Field(ge=2)] | None = None

    @property
    def task(self) -> Task:
        """What is scored."""
        return TASKS[self.hf_task].task

    @property
    def _model(self) -> HuggingFace:
        return HuggingFace(task=self.hf_task, trust_remote_code=self.trust_remote_code)

    def files(self, project_dir: Path) -> dict[str, str]:
        """Configuration, weights, and whatever prepares the inputs."""
        directory = project_dir / self.huggingface
        found = [
            path.relative_to(directory).as_posix()
            for patterns in (self._other_patterns(), _weights_in(directory))
            for pattern in patterns
            for path in directory.glob(pattern)
            if path.is_file()
        ]
        return {
            f"huggingface, {name}": (Path(self.huggingface) / name).as_posix()
            for name in sorted(set(found))
        }

    def _other_patterns(self) -> tuple[str, ...]:
        return (*OTHERS, CODE) if self.trust_remote_code else OTHERS

    def problems(self, project_dir: Path) -> Iterator[tuple[str, str]]:
        """The directory must be there, be complete, and fit the task."""
        directory = project_dir / self.huggingface
        try:
            present = directory.is_dir()
        except (OSError, ValueError):  # too long for the file system, or with a null byte in it
            present = False
        if not present:
            shown = self.huggingface[:200]
            yield (
                "huggingface",
                f"there is no directory '{shown}' beside mlopt.yaml, and mlopt downloads nothing. If "
                f"it is a model of the hub: hf download {shown} --local-dir {Path(shown).name}, "
                "and name that directory here.",
            )
            return
        if (problem := config_problem(directory, self._model)) is not None:
            yield "task" if problem.startswith(f"'{self.hf_task}'") else "huggingface", problem
        elif (problem := code_problem(directory, self._model)) is not None:
            yield "huggingface", problem
        elif not _weights_in(directory):
            yield (
                "huggingface",
                f"the directory '{self.huggingface}' has no weights ({WEIGHTS[0][0]}). Write them "
                "with save_pretrained.",
            )

    def declared_inputs(self, project_dir: Path) -> tuple[TensorSpec, ...] | None:
        """The inputs that optimum exports for this kind of model.

        None where only the model's own code could say: it runs in a worker, and not before.

        Raises:
            ModelError: The configuration is damaged.
            UnavailableError: transformers or optimum is not installed.
        """
        directory = project_dir / self.huggingface
        if self.trust_remote_code and _has_code(directory):
            return None
        return input_specs(read_config(directory, self._model), self.hf_task)

    def preprocessor(self, project_dir: Path) -> Preprocessor:
        """The tokenizer or the image processor of the directory.

        Raises:
            ModelError: There is none, or it cannot be read.
            UnavailableError: transformers is not installed.
        """
        directory = project_dir / self.huggingface
        return preprocessor_of(directory, self._model, self.max_length, project_dir)

    def materialise(
        self,
        workspace: Path,
        project_dir: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[str, ...],
        example: Mapping[str, np.ndarray[Any, Any]],
    ) -> Draft:
        """Loads the model, runs it once, and writes it with what prepares its inputs.

        Raises:
            ModelError: It cannot be loaded, or does not accept the example.
            UnavailableError: transformers is not installed.
        """
        import torch

        directory = project_dir / self.huggingface
        module, unused = load_pretrained(directory, self._model)
        tensors = as_tensors(example)
        try:
            with torch.inference_mode():
                found = name_outputs(call_module(module, tensors), outputs)
        except ModelError:
            raise
        except Exception as e:
            shapes = ", ".join(f"{n} {a.dtype}{list(a.shape)}" for n, a in example.items())
            raise ModelError(
                f"model: '{self.huggingface}' does not accept the example input {shapes}: "
                f"{describe(e, project_dir)}. Make 'inputs' and the data fit what it expects."
            ) from e
        specs = output_specs({n: t.numpy(force=True) for n, t in found.items()}, _length(example))
        dynamic = {size for spec in inputs for size in spec.shape if isinstance(size, str)}
        specs = _with_dynamic_axes(specs, output_axes(module.config, self.hf_task), dynamic)
        assets = workspace / ASSETS
        assets.mkdir()
        for pattern in self._other_patterns():
            for path in directory.glob(pattern):
                shutil.copyfile(path, assets / path.name)
        model = TorchModel(huggingface=self._model, outputs=tuple(spec.name for spec in specs))
        main = save_module(module, model, workspace)
        facts: dict[str, Any] = dict(count_cost(module, tensors)._asdict())
        if unused:
            facts["unused_weights"] = unused
        return Draft(main=main, inputs=inputs, outputs=specs, facts=facts)


def _with_dynamic_axes(
    specs: tuple[TensorSpec, ...], axes: Mapping[str, Mapping[int, str]], dynamic: set[str]
) -> tuple[TensorSpec, ...]:
    """The outputs as seen on one batch, their dynamic axes by name.

    Args:
        specs: Named by the user or by the model, in the order of ``axes``.
        axes: Of each output, position to name.
        dynamic: The axes that the inputs leave open; the others have the size that was seen.
    """
    if len(axes) != len(specs):
        return specs
    named = []
    for spec, own in zip(specs, axes.values(), strict=True):
        sizes = [own[i] if own.get(i) in dynamic else size for i, size in enumerate(spec.shape)]
        named.append(spec.model_copy(update={"shape": tuple(sizes)}))
    return tuple(named)


def _weights_in(directory: Path) -> tuple[str, ...]:
    """The patterns of the first form of weights that ``directory`` has; empty: none."""
    return next((form for form in WEIGHTS if (directory / form[0]).is_file()), ())


def _has_code(directory: Path) -> bool:
    import json

    return brings_code(json.loads((directory / CONFIG).read_text(encoding="utf-8")))


def _length(example: Mapping[str, np.ndarray[Any, Any]]) -> int:
    return len(next(iter(example.values())))

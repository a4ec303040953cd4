"""Models of the transformers library: built from a directory, without the network."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import ModelError, UnavailableError
from mlopt.types.task import Task
from mlopt.types.torch_model import HuggingFace

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"

ATTENTION = "eager"
"""Plain matrix products: they are counted and pruned as they stand, no branch in them looks at the
mask's values, and ONNX Runtime fuses them as well as the other form (measured on BERT)."""


class HuggingFaceTask(NamedTuple):
    """What a directory is used for.

    Attributes:
        task: What is scored.
        auto_class: The class of transformers that builds the model.
        architecture: How the names of these models end; None: any model will do.
    """

    task: Task
    auto_class: str
    architecture: str | None


TASKS = {
    "text-classification": HuggingFaceTask(
        "classification", "AutoModelForSequenceClassification", "ForSequenceClassification"
    ),
    "token-classification": HuggingFaceTask(
        "token_classification", "AutoModelForTokenClassification", "ForTokenClassification"
    ),
    "question-answering": HuggingFaceTask(
        "question_answering", "AutoModelForQuestionAnswering", "ForQuestionAnswering"
    ),
    "feature-extraction": HuggingFaceTask("feature_extraction", "AutoModel", None),
    "image-classification": HuggingFaceTask(
        "classification", "AutoModelForImageClassification", "ForImageClassification"
    ),
}


def transformers_library() -> Any:
    """The module ``transformers``, told to stay off the network and to keep quiet.

    Raises:
        UnavailableError: It is not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import transformers
    except ImportError as e:
        raise missing_libraries(e) from e
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def missing_libraries(error: ImportError) -> UnavailableError:
    """What to say when transformers or optimum cannot be imported."""
    return UnavailableError(
        f"a Hugging Face directory needs transformers and optimum-onnx ({error}). "
        "pip install 'mlopt[huggingface]'."
    )


def config_problem(directory: Path, model: HuggingFace) -> str | None:
    """What ``config.json`` shows to be wrong, without running anything; None: nothing."""
    path = directory / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return f"the directory '{directory.name}' has no {CONFIG}. Write it with save_pretrained."
    except ValueError as e:
        return f"{directory.name}/{CONFIG} is no JSON: {e}. Write it again with save_pretrained."
    if not isinstance(config, dict) or "model_type" not in config:
        return f"{directory.name}/{CONFIG} has no 'model_type'. Write it with save_pretrained."
    if brings_code(config) and not model.trust_remote_code:
        return (
            f"'{directory.name}' comes with code of its own ('auto_map' in {CONFIG}), which mlopt "
            "runs only when told to. Read it, then add 'trust_remote_code: true' under 'model'."
        )
    return _unfit(config.get("architectures"), model.task, directory.name)


def brings_code(config: dict[str, Any]) -> bool:
    """Whether the model's classes come with the directory."""
    return bool(config.get("auto_map"))


def _unfit(architectures: Any, task: str, shown: str) -> str | None:
    wanted = TASKS[task].architecture
    if wanted is None or not isinstance(architectures, list) or not architectures:
        return None
    name = str(architectures[0])
    if name.endswith(wanted):
        return None
    known = (key for key, each in TASKS.items() if each.architecture)
    own = next((key for key in known if name.endswith(str(TASKS[key].architecture))), None)
    mend = f"Say 'task: {own}'." if own else f"Bring a model whose class ends in {wanted}."
    return f"'{task}' does not fit '{shown}', whose {CONFIG} names the architecture {name}. {mend}"


def read_config(directory: Path, model: HuggingFace) -> Any:
    """The configuration of transformers in ``directory``.

    Raises:
        ModelError: It is missing or damaged, or would run code that nobody asked for.
        UnavailableError: transformers is not installed.
    """
    if (problem := config_problem(directory, model)) is not None:
        raise ModelError(f"model: {problem}")
    transformers = transformers_library()
    try:
        config = transformers.AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=model.trust_remote_code
        )
    except Exception as e:
        raise ModelError(
            f"model: transformers {transformers.__version__} cannot read "
            f"{directory.name}/{CONFIG}: {first_line(e)}"
        ) from e
    config.return_dict = True
    config.output_hidden_states = config.output_attentions = False
    return config


def build_module(directory: Path, model: HuggingFace) -> torch.nn.Module:
    """The model that ``directory``'s configuration describes, with random weights.

    Args:
        directory: Holds ``config.json``, and the model's code if it has its own.
        model: What it is used for.

    Raises:
        ModelError: transformers cannot build it.
        UnavailableError: transformers is not installed.
    """
    config = read_config(directory, model)
    auto = getattr(transformers_library(), TASKS[model.task].auto_class)
    try:
        module: torch.nn.Module = auto.from_config(
            config,
            trust_remote_code=model.trust_remote_code,
            attn_implementation=ATTENTION,
            **_without_pooler(auto, config),
        )
    except Exception as e:
        raise ModelError(
            f"model: transformers cannot build a '{config.model_type}' for {model.task}: "
            f"{first_line(e)}"
        ) from e
    return module


def load_pretrained(directory: Path, model: HuggingFace) -> tuple[torch.nn.Module, list[str]]:
    """The model with its weights, in evaluation mode.

    Returns:
        The module, and the tensors of the directory that it does not use.

    Raises:
        ModelError: The weights are missing, unsafe or damaged, or are another model's.
        UnavailableError: transformers is not installed.
    """
    import torch

    config = read_config(directory, model)
    auto = getattr(transformers_library(), TASKS[model.task].auto_class)
    try:
        module, loading = auto.from_pretrained(
            directory,
            config=config,
            local_files_only=True,
            trust_remote_code=model.trust_remote_code,
            attn_implementation=ATTENTION,
            output_loading_info=True,
            weights_only=True,
            dtype=torch.float32,
            **_without_pooler(auto, config),
        )
    except Exception as e:
        raise ModelError(
            f"model: the weights in '{directory.name}' cannot be loaded: {first_line(e)} Write "
            "them again with save_pretrained."
        ) from e
    absent = [*loading["missing_keys"], *(str(key[0]) for key in loading["mismatched_keys"])]
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ModelError(
            f"model: '{directory.name}' has no weights for {', '.join(sorted(absent)[:3])}{more} of "
            f"its {type(module).__name__}. Train it for {model.task} first, or correct 'task'."
        )
    return module.eval(), sorted(loading["unexpected_keys"])


def _without_pooler(auto: Any, config: Any) -> dict[str, bool]:
    """Features are the last hidden state: a pooler on top of it would be dead weight."""
    classes = getattr(auto, "_model_mapping", {})
    known = type(config) in classes and auto.__name__ == "AutoModel"
    if known and "add_pooling_layer" in inspect.signature(classes[type(config)]).parameters:
        return {"add_pooling_layer": False}
    return {}


def task_of(module: torch.nn.Module, model: HuggingFace | None) -> str | None:
    """What a model of transformers is used for; None for any other module.

    Args:
        module: Perhaps made by a factory of the user's.
        model: What is known of it, if it came as a directory.
    """
    if model is not None:
        return model.task
    classes = [each for each in type(module).__mro__ if each.__module__.startswith("transformers.")]
    if not classes or not hasattr(module, "config"):
        return None
    named = ((task, each.architecture) for task, each in TASKS.items() if each.architecture)
    name = classes[0].__name__
    return next((task for task, ending in named if name.endswith(ending)), "feature-extraction")


def first_line(error: Exception) -> str:
    """The first line of a message, bounded."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]

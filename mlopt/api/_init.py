"""``mlopt init``: a commented ``mlopt.yaml`` to start from."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mlopt.errors import ConfigError
from mlopt.project import FILE

FACTORY_MODEL = """\
# Where the model comes from. 'factory' is module:function in a Python file beside this one; it
# returns the module with untrained weights. 'weights' is a .safetensors file, or a checkpoint
# with a state_dict. For a model that is ONNX already, write instead:  model: {onnx: model.onnx}
model:
  factory: model:build
  weights: weights.safetensors
  #arguments: {} # keyword arguments for the factory

# What the model takes, in the order of its parameters. A number is a fixed size and a name is an
# axis of any size; the first axis is the batch.
inputs:
  - {name: image, dtype: float32, shape: [batch, 1, 32, 32]}
"""

ONNX_MODEL = """\
# Where the model comes from: an .onnx file, relative to this one. For a PyTorch model, write
# instead:  model: {factory: "model:build", weights: weights.safetensors}
model:
  onnx: @ONNX@

# What the model takes. Left out, it is read from the .onnx file; write it to check the file
# against it. A number is a fixed size and a name is an axis of any size.
#inputs:
#  - {name: image, dtype: float32, shape: [batch, 1, 32, 32]}
"""

TEMPLATE = """\
# What mlopt is to optimize, and what you expect of it. Paths are relative to this file.
#
# Explanations have one blank after their '#'. Every other '#' hides an option with its default, or
# an example: take the '#' away to set it. 'mlopt optimize --dry-run' checks the whole.

# For the report. Default: the name of the directory.
#name: my-model

@MODEL@
# Names for what the model returns, in their order. The first one is scored. Default: the
# model's own names.
#outputs: [logits]

# One source for each split. 'data:selection' is module:function in a Python file beside this one;
# it yields batches (inputs, targets), or returns a torch Dataset or DataLoader. A file with an
# array for each input and one called 'target' is written {npz: selection.npz}.
# No example may be in two splits, except that calibration may lie inside training.
data:
  selection: data:selection # the choice between candidates is made on it
  holdout: data:holdout # the choice is proved on it; the more examples, the more it can prove
  #calibration: data:calibration # sets the ranges of static INT8; a few hundred, no targets needed
  #training: data:training # for recipes that train, which carve their own validation part from it

# What recipes that train need beside the training split. 'student' is a smaller model, which the
# recipe 'distill' has learn from yours; 'augment' varies a training batch at random: it takes the
# inputs as tensors by name, and returns them the same.
#student: {factory: "model:build_student"} # with 'arguments' and 'weights', if it has any; where it
# starts from trained weights, a 'learning_rate' of 0.001 serves it better than that of the recipe;
# 'epochs' trains it longer than the recipe does
#augment: data:augment

# What is scored is the first output. The targets, which data functions yield beside the inputs:
# classification: logits of shape (N, classes), or (N, 1) or (N,) for two classes, where above 0
# means class 1; never probabilities. Targets are class numbers of shape (N,).
# regression: as many values in the targets as in the output.
# token_classification: logits (N, tokens, classes); targets (N, tokens), -100 for tokens that do
# not count.
# question_answering: the first two outputs are the logits of start and end, (N, tokens) each;
# targets (N, 2) are the first and the last token of the answer.
# feature_extraction: embeddings (N, features) or (N, tokens, features), compared with the
# baseline's; no targets.
#
# Default: what the model says of itself, or what the first metric belongs to.
#task: classification

# What a candidate must not lose; the first one decides. A metric without a max_drop is only
# reported. By task: accuracy, f1, auroc; mse, mae, r2; token_accuracy, token_f1; exact_match,
# span_f1; cosine_similarity.
metrics:
  - name: accuracy
    max_drop: 0.01 # in units of the metric: one point of accuracy
    #max_drop_relative: 0.01 # instead of max_drop: as a share of the baseline's value
  # A metric of your own: (outputs, targets) -> float.
  #- {name: top2, function: "data:top2", direction: higher}

# What all ratios and losses are over. Default: plain ONNX in 32-bit floats on the CPU.
#baseline:
#  recipe: fp32
#  provider: cpu

# Limits that what you ship must keep, fixed before anything is measured: p50, p90, p99, mean,
# cold_start (us, ms, s), rss, size (kB, MB, GB) and throughput (/s). A latency is of the first batch
# size unless the line ends in '@ batch-8'. Without a budget, the fastest within the margins is chosen.
budget:
  - p99 <= 5 ms
  #- size <= 10 MB
  #- throughput >= 200 /s # needs a p99 line: the rate that keeps it

# Parts of the examples to look at by themselves, beside the classes: (inputs, targets) -> mask, the
# inputs as arrays by name. And which examples belong together, such as the frames of a clip:
# (inputs, targets) -> labels. Examples of one label then count as one.
#slices:
#  - {name: dark, function: "data:dark"}
#groups: data:clip_of

# What 'mlopt gate' checks, and what it is timed against: an .onnx file, an artifact, or a run's
# directory. The p50 may be slower than that of the reference by at most the tolerance.
#ship: release/model
#reference: released/model
#gate:
#  tolerance: 0.02
#  max_seconds: 60 # wall-clock limit of the comparison

# How much the model is asked in production, to turn milliseconds into processor hours.
#traffic:
#  predictions_per_day: 1_000_000

# Which recipes to try ('mlopt recipes' lists them; your own go into recipes/ beside this file).
# Default: 'auto', which races those that apply on every provider here, and your own recipes beside it.
# 'mlopt optimize --dry-run' says which do not apply, and why.
#recipes: [fp32, int8-dynamic, int8-static, prune-distill-int8]

# The execution providers to try; 'mlopt doctor' says which there are.
#providers: [cpu]

# Examples in one inference. Each is timed; the first one decides.
#batch_sizes: [1]

# Whether a candidate may be chosen that runs partly on another provider than was asked for.
#allow_fallback: false

# Whether the report says why the chosen candidate is as fast as it is; it takes some seconds.
#diagnose: true

# How often and how long each candidate is timed. More launches and rounds narrow the intervals.
#measurement:
#  launches: 5 # lives of the worker processes, at least
#  most_launches: 12 # at most, for the asked precision; where launches is set: as many as that
#  p50_precision: 0.01 # half-width to aim for of the p50 ratio's interval
#  p99_precision: 0.05 # the same for the p99, where there are enough samples for one
#  rounds: 48 # in each launch; every round visits every candidate once
#  block_ms: 6 # aim for the duration of one visit
#  min_block: 4 # least inferences in a visit
#  max_block: 100 # most inferences in a visit
#  warmup: 2 # untimed inferences at its beginning, at least; half the timed ones if more
#  pool: 64 # different real inputs that a visit cycles through
#  max_seconds: 120 # of one trial, once all have loaded; rounds give way first, then launches

# What one worker process may use, and how large a split may be.
#limits:
#  seconds: 1800 # wall-clock limit of one step
#  memory_mb: 4000 # resident memory; default: four fifths of what is available
#  examples: 1_000_000 # most examples in a split
#  data_mb: 8000 # most megabytes (10^6 bytes) in a split
"""


def init(directory: Path = Path(), *, onnx: str | None = None, force: bool = False) -> Path:
    """Writes a commented ``mlopt.yaml``.

    Args:
        directory: Where to; it is made if it is missing.
        onnx: An ``.onnx`` file to start from; None: a PyTorch model.
        force: Replace a file that is there.

    Returns:
        The file.

    Raises:
        ConfigError: There is such a file already, or it cannot be written.
    """
    file = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8", newline="\n") as stream:
            stream.write(_content(directory, onnx))
    except FileExistsError as e:
        if file.exists():
            message = f"{file} exists already. Replace it with --force, or name another directory."
        else:
            message = f"'{directory}' is a file, and should be a directory. Choose another place."
        raise ConfigError(message) from e
    except OSError as e:
        raise ConfigError(f"{file} cannot be written: {e.strerror}. Choose another place.") from e
    return file


def _content(directory: Path, onnx: str | None) -> str:
    if onnx is None:
        return TEMPLATE.replace("@MODEL@", FACTORY_MODEL)
    try:
        path = Path(os.path.relpath(onnx, directory)).as_posix()
    except ValueError:  # on Windows, another drive
        path = Path(onnx).resolve().as_posix()
    # A JSON string is a YAML string, whatever the path holds.
    return TEMPLATE.replace("@MODEL@", ONNX_MODEL.replace("@ONNX@", json.dumps(path)))

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
  #training: data:training # for recipes that train

# What is scored is the first output: for a classification logits of shape (N, classes), or (N, 1)
# or (N,) for two classes, where above 0 means class 1; never probabilities. Targets are class
# numbers of shape (N,). For a regression, targets have as many values as the output.
#
# classification or regression. Default: what the first metric belongs to.
#task: classification

# What a candidate must not lose; the first one decides. Classification has accuracy, f1 and
# auroc; regression has mse, mae and r2. A metric without a max_drop is only reported.
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

# Upper limits that what you ship must keep, fixed before anything is measured: p50, p90, p99,
# mean, cold_start (us, ms, s), rss and size (kB, MB, GB). A latency is of the first batch size
# unless the line ends in '@ batch-8'. Without a budget, the fastest within the margins is chosen.
budget:
  - p99 <= 5 ms
  #- size <= 10 MB

# How much the model is asked in production, to turn milliseconds into processor hours.
#traffic:
#  predictions_per_day: 1_000_000

# Which recipes to try ('mlopt recipes' lists them; your own go into recipes/ beside this file).
# Default: all of them.
#recipes: [fp32, int8-dynamic, int8-static]

# The execution providers of ONNX Runtime to try; 'mlopt doctor' says which there are.
#providers: [cpu]

# Examples in one inference. Each is timed; the first one decides.
#batch_sizes: [1]

# Whether a candidate may be chosen that runs partly on another provider than was asked for.
#allow_fallback: false

# How often and how long each candidate is timed. More launches and rounds narrow the intervals.
#measurement:
#  launches: 5 # lives of the worker processes
#  rounds: 12 # in each launch; every round visits every candidate once
#  block_ms: 40 # aim for the duration of one visit
#  min_block: 12 # least inferences in a visit
#  max_block: 100 # most inferences in a visit
#  warmup: 3 # untimed inferences at the beginning of a visit
#  pool: 64 # different real inputs that a visit cycles through
#  max_seconds: 120 # of one trial; rounds give way first, then launches

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

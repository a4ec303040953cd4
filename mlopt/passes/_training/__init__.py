"""One training loop, for every pass that trains: ``distill``, ``finetune``, between pruning rounds.

``train(module, context, options, outputs=model.outputs)`` trains a module in place and goes on
where a killed run stopped.
"""

from mlopt.passes._training.history import EpochResult, History
from mlopt.passes._training.loop import Phase, train
from mlopt.passes._training.options import TrainingOptions
from mlopt.passes._training.teacher import Teacher

__all__ = ["EpochResult", "History", "Phase", "Teacher", "TrainingOptions", "train"]

"""Intervals and tests: pure functions of arrays, numpy and scipy only, no I/O."""

from mlopt.stats.bootstrap import common_rounds, mean, paired_p50_ratio, quantile, tail_ratio
from mlopt.stats.clustered import clustered_mcnemar_one_sided, clustered_tango_interval
from mlopt.stats.diagnostics import Drift, Modes, RandomWalk, drift, modes, random_walk
from mlopt.stats.effective import effective_of_blocks, effective_samples
from mlopt.stats.multiplicity import holm
from mlopt.stats.paired import bootstrap_delta, mean_delta, weighted_delta
from mlopt.stats.proportions import (
    examples_needed,
    examples_needed_from_interval,
    mcnemar_exact,
    mcnemar_one_sided,
    smallest_provable_drop,
    tango_interval,
)
from mlopt.stats.ranking import smallest_provable_auroc_drop
from mlopt.stats.rounds import Rounds
from mlopt.stats.sequential import confidence_after_precision, look_confidence, spent_alpha
from mlopt.stats.small import mean_interval
from mlopt.stats.tails import (
    TAIL_ROUNDS,
    samples_for_interval,
    samples_for_upper_bound,
    tail_estimate,
    tail_support,
)

__all__ = [
    "TAIL_ROUNDS",
    "Drift",
    "Modes",
    "RandomWalk",
    "Rounds",
    "bootstrap_delta",
    "clustered_mcnemar_one_sided",
    "clustered_tango_interval",
    "common_rounds",
    "confidence_after_precision",
    "drift",
    "effective_of_blocks",
    "effective_samples",
    "examples_needed",
    "examples_needed_from_interval",
    "holm",
    "look_confidence",
    "mcnemar_exact",
    "mcnemar_one_sided",
    "mean",
    "mean_delta",
    "mean_interval",
    "modes",
    "paired_p50_ratio",
    "quantile",
    "random_walk",
    "samples_for_interval",
    "samples_for_upper_bound",
    "smallest_provable_auroc_drop",
    "smallest_provable_drop",
    "spent_alpha",
    "tail_estimate",
    "tail_ratio",
    "tail_support",
    "tango_interval",
    "weighted_delta",
]

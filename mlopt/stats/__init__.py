"""Intervals and tests: pure functions of arrays, numpy and scipy only, no I/O."""

from mlopt.stats.bootstrap import mean, paired_p50_ratio, quantile, tail_ratio
from mlopt.stats.clustered import clustered_tango_interval
from mlopt.stats.paired import bootstrap_delta, mean_delta, weighted_delta
from mlopt.stats.proportions import (
    examples_needed,
    mcnemar_exact,
    smallest_provable_drop,
    tango_interval,
)
from mlopt.stats.ranking import smallest_provable_auroc_drop
from mlopt.stats.rounds import Rounds
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
    "Rounds",
    "bootstrap_delta",
    "clustered_tango_interval",
    "examples_needed",
    "mcnemar_exact",
    "mean",
    "mean_delta",
    "mean_interval",
    "paired_p50_ratio",
    "quantile",
    "samples_for_interval",
    "samples_for_upper_bound",
    "smallest_provable_auroc_drop",
    "smallest_provable_drop",
    "tail_estimate",
    "tail_ratio",
    "tail_support",
    "tango_interval",
    "weighted_delta",
]

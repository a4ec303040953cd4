"""Proposers: what is asked which candidates to try, and told what was seen of them."""

from mlopt.search._base import Batch, Proposer
from mlopt.search.chain import REFINING, Chain, Stage
from mlopt.search.fixed import FixedList
from mlopt.search.tuning import TuningRace

__all__ = ["REFINING", "Batch", "Chain", "FixedList", "Proposer", "Stage", "TuningRace"]

"""Proposers: what is asked which candidates to try, and told what was seen of them."""

from mlopt.search._base import Proposer
from mlopt.search.fixed import FixedList

__all__ = ["FixedList", "Proposer"]

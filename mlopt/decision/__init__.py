"""Judge candidates by the contract, and choose."""

from mlopt.decision.judge import judge
from mlopt.decision.select import SELECTION_RULE, Choice, Ratio, choose, contenders, fastest

__all__ = ["SELECTION_RULE", "Choice", "Ratio", "choose", "contenders", "fastest", "judge"]

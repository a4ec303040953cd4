"""One round: what goes, so that the target is met and the model still answers rightly."""

from __future__ import annotations

from collections.abc import Sequence

from mlopt.frameworks.cost import Cost, count_cost
from mlopt.passes._pruning.coupling import Coupling, Cut, Left, merged
from mlopt.passes._pruning.equivalence import Trial, first_obstacle
from mlopt.passes._pruning.ranking import Limits, Scores, Target, rank
from mlopt.passes._pruning.size import CostModel
from mlopt.passes._pruning.surgery import remove, restored, touched

CORRECTIONS = 3
"""How often a goal is aimed at anew when the cost is counted and not what was computed."""

CLOSE = 0.01
"""By how much of the whole cost a goal may be missed."""


class Planner:
    """Chooses what goes in each round.

    Attributes:
        couplings: That may be cut.
        left: What turned out in a round not to be safe together with the rest.
    """

    def __init__(
        self, trial: Trial, couplings: Sequence[Coupling], target: Target, limits: Limits
    ) -> None:
        """Prepares to prune.

        Args:
            trial: Of the whole model; stays as it is.
            couplings: That may be cut.
            target: What is to become smaller.
            limits: On what goes.
        """
        self._trial = trial
        self._target = target
        self._limits = limits
        self._costs = CostModel(trial.module, trial.batches[0], couplings)
        self.couplings = list(couplings)
        self.left: list[Left] = []

    @property
    def whole(self) -> Cost:
        """The cost of the whole model."""
        return self._costs.whole

    def choose(self, scores: Scores, share: float, gone: Sequence[Cut]) -> list[Cut]:
        """What is to go in a round.

        Args:
            scores: Of the channels that are left.
            share: Of the whole cost that is to be left.
            gone: What is no longer there.
        """
        while True:
            cuts = self._meet(scores, share, gone)
            if first_obstacle(self._trial, merged([*gone, *cuts])) is None:
                return cuts
            if not self._drop_unsafe(cuts, gone):
                return []

    def _meet(self, scores: Scores, share: float, gone: Sequence[Cut]) -> list[Cut]:
        whole = getattr(self.whole, self._target)
        goal = aim = whole * share
        cuts: list[Cut] = []
        for _ in range(CORRECTIONS):
            balance = self._costs.after(gone)
            cuts = rank(self.couplings, scores, self._limits, balance, self._target, aim)
            counted = getattr(self.counted(merged([*gone, *cuts])), self._target)
            if counted - goal <= CLOSE * whole or getattr(balance.cost, self._target) > aim:
                break  # met, or out of reach
            aim -= counted - goal
        return cuts

    def counted(self, cuts: Sequence[Cut]) -> Cost:
        """The cost of the whole model without ``cuts``, counted on the model itself."""
        module = self._trial.module
        with restored(module, touched(cuts)):
            remove(module, cuts)
            return count_cost(module, self._trial.batches[0])

    def _drop_unsafe(self, cuts: Sequence[Cut], gone: Sequence[Cut]) -> bool:
        """Takes out the couplings that are not safe together with those before them."""
        safe = list(gone)
        dropped = False
        for cut in cuts:
            tried = merged([*safe, cut])
            obstacle = first_obstacle(self._trial, tried)
            if obstacle is None:
                safe = tried
                continue
            dropped = True
            self.couplings.remove(cut.coupling)
            self.left.append(Left(layers=cut.coupling.producers, reason=obstacle))
        return dropped


def widths(cuts: Sequence[Cut]) -> dict[str, list[int]]:
    """Output channels of each producer before and after, by its name."""
    found: dict[str, list[int]] = {}
    for cut in cuts:
        for member in cut.coupling.members:
            if member.produces:
                before = len(member.channels)
                entry = found.setdefault(member.layer, [before, before])
                entry[1] -= len(member.positions(cut.roots))
    return dict(sorted(found.items()))


def heads_left(cuts: Sequence[Cut]) -> dict[str, list[int]]:
    """Number of heads before and after, by the first of the projections."""
    return {
        cut.coupling.name: [len(cut.coupling.units), len(cut.coupling.units) - len(cut.units)]
        for cut in cuts
        if cut.coupling.heads
    }

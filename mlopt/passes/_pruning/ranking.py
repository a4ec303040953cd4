"""Which channels go: the least important of the whole model, until the target is met."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from mlopt.passes._pruning.coupling import Coupling, Cut, merged
from mlopt.passes._pruning.size import Balance

Target = Literal["macs", "parameters"]
Scores = Mapping[str, Mapping[int, float]]


class Limits(NamedTuple):
    """What the ranking must keep to.

    Attributes:
        multiple: What is left of a coupling's channels is a multiple of this. Heads go one by one.
        most: Largest share of a coupling's channels that may be removed in all.
    """

    multiple: int
    most: float


class Block(NamedTuple):
    """Units of one coupling that go together, so that the rounding holds.

    Attributes:
        score: Mean of its channels.
    """

    score: float
    coupling: Coupling
    units: tuple[int, ...]

    @property
    def cut(self) -> Cut:
        """The block on its own."""
        return Cut(self.coupling, self.units)


def blocks_of(coupling: Coupling, scores: Mapping[int, float], limits: Limits) -> list[Block]:
    """The removable units of a coupling as blocks, in the order in which they may go.

    Args:
        coupling: To be cut.
        scores: Of the channels that are left.
        limits: The first block brings the number of channels down to a multiple.
    """
    whole = len(coupling.units)
    left = [u for u, unit in enumerate(coupling.units) if unit[0] in scores]
    width = len(coupling.units[0])
    each = coupling.block(limits.multiple)
    means = {u: sum(scores[c] for c in coupling.units[u]) / width for u in left}
    order = sorted(left, key=lambda u: (means[u], u))
    least = max(math.ceil(whole * (1 - limits.most) - 1e-9), 1)
    least = math.ceil(least / each) * each
    found = []
    taken = 0
    count = len(left) % each or each
    while len(left) - taken - count >= least:
        units = tuple(order[taken : taken + count])
        score = sum(means[u] for u in units) / count
        found.append(Block(score, coupling, units))
        taken += count
        count = each
    return found


def rank(
    couplings: Sequence[Coupling],
    scores: Scores,
    limits: Limits,
    balance: Balance,
    target: Target,
    goal: float,
) -> list[Cut]:
    """Removes blocks in the order of their scores until the cost is at most ``goal``.

    What then turns out not to have been needed is put back, the most important first.

    Args:
        couplings: That may be cut.
        scores: Of their channels.
        limits: On what goes.
        balance: The cost as it is now; afterwards, as it will be.
        target: What of the cost counts.
        goal: For it.

    Returns:
        What is to go now. Where the goal is out of reach, all that may go.
    """
    queues = [blocks_of(c, scores[c.name], limits) for c in couplings]
    heap = [(queue[0].score, number, 0) for number, queue in enumerate(queues) if queue]
    heapq.heapify(heap)
    chosen: list[Block] = []
    while heap and getattr(balance.cost, target) > goal:
        _, number, position = heapq.heappop(heap)
        queue = queues[number]
        chosen.append(queue[position])
        balance.take(queue[position].cut)
        if position + 1 < len(queue):
            # Blocks of a coupling go in their order, so none is cheaper than the one before it.
            heapq.heappush(heap, (queue[position + 1].score, number, position + 1))
    if getattr(balance.cost, target) <= goal:
        chosen = _put_back(chosen, balance, target, goal)
    return merged(block.cut for block in chosen)


def _put_back(chosen: list[Block], balance: Balance, target: Target, goal: float) -> list[Block]:
    last: dict[str, list[Block]] = {}
    for block in chosen:
        last.setdefault(block.coupling.name, []).append(block)
    for block in sorted(chosen, key=lambda b: -b.score):
        queue = last[block.coupling.name]
        if not queue or queue[-1] is not block:  # blocks come back in their order
            continue
        balance.give_back(block.cut)
        if getattr(balance.cost, target) <= goal:
            queue.pop()
        else:
            balance.take(block.cut)
    return [block for queue in last.values() for block in queue]

"""optuna's part of a search: a study of two objectives under constraints, by ask and tell.

TPE with a joint density over all choices (Watanabe, 2023, arXiv:2304.11127) rather than NSGA-II,
which needs generations of dozens. What violates a constraint counts as worse than all that
does not, ordered by how much it violates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mlopt.errors import UnavailableError
from mlopt.search.front import objectives
from mlopt.types.run import CandidateResult

if TYPE_CHECKING:
    import optuna

Combination = tuple[int, ...]
"""A place in the values of each choice."""

MOST_RANDOM = 10
"""Trials before the first one that is guided by what was seen, as in optuna; in a short search at
most a third of all."""

ATTEMPTS = 8
"""How often optuna is asked anew where it would have a combination again, before chance decides."""

FAILED = 1e6
"""By how much a candidate that failed violates its constraints: more than any that works."""


def why_unavailable() -> str | None:
    """That optuna is not installed, and how to mend it, in one line; None when it is."""
    if find_spec("optuna") is not None:
        return None
    return (
        "optuna is not installed, which explores the choices of a recipe with 'search'. Install with: "
        "pip install 'mlopt[search]', or raise its 'trials' to try all combinations."
    )


def require_optuna() -> None:
    """Checks for optuna without importing it.

    Raises:
        UnavailableError: It is not installed.
    """
    if (reason := why_unavailable()) is not None:
        raise UnavailableError(reason)


class Sampler:
    """Suggests combinations that were not seen yet."""

    def __init__(self, sizes: Mapping[str, int], trials: int, seed: str) -> None:
        """Makes a study in memory.

        Args:
            sizes: How many values each choice has, by its label.
            trials: Most combinations that will be asked for.
            seed: What all randomness derives from.
        """
        import optuna

        self._sizes = dict(sizes)
        self._random_trials = min(MOST_RANDOM, max(1, trials // 3))
        self._seed = seed
        self._distributions = {
            label: optuna.distributions.CategoricalDistribution(range(size))
            for label, size in sizes.items()
        }
        self._study = _new_study()
        self._running: dict[Combination, optuna.Trial] = {}

    def ask(self, seen: Collection[Combination]) -> Combination:
        """A combination that is not among ``seen``; there must be one.

        The seed of each draw follows from how many were seen, and from nothing else that happened
        before: a search that is resumed goes on like one that was not cut off.
        """
        import optuna

        again: list[optuna.Trial] = []
        try:
            for attempt in range(ATTEMPTS):
                trial = self._draw(f"{self._seed}/{len(seen)}/{attempt}")
                combination = tuple(int(trial.params[label]) for label in self._sizes)
                if combination not in seen:
                    self._running[combination] = trial
                    return combination
                again.append(trial)  # as long as it seems to run, its surroundings are avoided
        finally:
            for trial in again:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        rng = random.Random(f"{self._seed}/{len(seen)}")  # noqa: S311
        while (combination := tuple(map(rng.randrange, self._sizes.values()))) in seen:
            pass
        self.take(combination)
        return combination

    def take(self, combination: Combination) -> None:
        """Has this combination next, whatever optuna would suggest."""
        self._study.enqueue_trial(dict(zip(self._sizes, combination, strict=True)))
        self._running[combination] = self._study.ask(self._distributions)

    def tell(
        self,
        combination: Combination,
        result: CandidateResult | None,
        constraints: Callable[[CandidateResult], Sequence[float]],
    ) -> None:
        """What became of a combination; one that nothing is known of is passed over.

        optuna's FAIL teaches its sampler nothing: a value that never works would be tried again and
        again. So a candidate that failed is told as cut short (PRUNED), and far from feasible.
        """
        import optuna

        state = optuna.trial.TrialState
        trial = self._running.pop(combination)
        values = None if result is None else objectives(result)
        if result is not None and result.failure is not None:
            trial.set_constraint("works", FAILED)
            self._study.tell(trial, state=state.PRUNED)
        elif result is None or values is None:
            self._study.tell(trial, state=state.FAIL)
        else:
            for number, violation in enumerate(constraints(result)):
                trial.set_constraint(str(number), violation)
            self._study.tell(trial, values)

    def _draw(self, seed: str) -> optuna.Trial:
        import optuna

        self._study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=self._random_trials,
            multivariate=True,  # choices interact: a quantizer is good on one provider, bad on another
            constant_liar=True,  # those of one batch are to differ
            seed=random.Random(seed).getrandbits(32),  # noqa: S311
        )
        return self._study.ask(self._distributions)


def _new_study() -> optuna.Study:
    """A study in memory, which optuna would announce."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(directions=["minimize", "minimize"])
    finally:
        optuna.logging.set_verbosity(verbosity)

"""The choices of a recipe, explored: which combination is built next follows from what was seen."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlopt.recipe import Recipe
from mlopt.search._base import Batch
from mlopt.search._tpe import Combination, Sampler, require_optuna
from mlopt.search.front import summarize_search
from mlopt.types.artifact import Format
from mlopt.types.candidate import PlannedCandidate
from mlopt.types.plan import SearchPlan
from mlopt.types.run import CandidateResult, Run
from mlopt.types.search import SearchSummary

PROVIDER = "provider"
"""The label of the choice among several providers."""

Constraints = Callable[[CandidateResult], Sequence[float]]
"""How far a measured candidate is from what it must keep; at most 0: it keeps that."""


class OptunaSearch:
    """Asks for combinations of choices, some at a time, until enough or all of them are seen.

    No combination is asked for twice. A space that is no larger than the number of trials is
    enumerated, in an order that follows from the seed, and takes no optuna. The same seed and the same
    results ask for the same candidates. When a run is resumed, those that it has already are asked
    for first, in their order, since what is known of them may be more than it was at the time.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Sequence[Any]],
        make: Callable[[dict[str, Any]], PlannedCandidate],
        *,
        trials: int,
        batch: int,
        seed: int,
        recipe: str = "",
        constraints: Constraints = lambda result: (),
    ) -> None:
        """Prepares.

        Args:
            dimensions: The values of each choice, by its label.
            make: The candidate that a value of each choice makes.
            trials: Most combinations.
            batch: How many are asked for at once, and race together.
            seed: What the order derives from.
            recipe: Whose choices they are.
            constraints: Of the budget and the margins; as many numbers for each candidate.

        Raises:
            UnavailableError: The space is larger than ``trials``, and optuna is not installed.
        """
        self._dimensions = {label: tuple(values) for label, values in dimensions.items()}
        self._make = make
        self._batch = batch
        self._recipe = recipe
        self._constraints = constraints
        sizes = {label: len(values) for label, values in self._dimensions.items()}
        self._size = math.prod(sizes.values())
        self._trials = min(trials, self._size)
        self._asked: dict[Combination, PlannedCandidate] = {}
        self._open: list[Combination] = []
        self._waiting: list[Combination] = []
        self._sampler: Sampler | None = None
        self._is_over = False
        if self._trials == self._size:
            self._waiting = list(itertools.product(*map(range, sizes.values())))
            random.Random(f"{seed}/{recipe}").shuffle(self._waiting)  # noqa: S311
        else:
            require_optuna()
            self._sampler = Sampler(sizes, trials, f"{seed}/{recipe}")

    @property
    def name(self) -> str:
        """For the plan: how the space is explored, and how far."""
        space = f"{self._size} combinations of {_counted(len(self._dimensions), 'choice')}"
        if self._sampler is None:
            return f"all {space}, in an order that follows from the seed"
        return f"optuna's multi-objective TPE: at most {self._trials} of the {space}"

    def ask(self) -> Batch | None:
        """The next combinations; None: enough were seen, or there is nobody to build them."""
        self._open = []
        while not self._is_over and len(self._open) < self._batch:
            if self._waiting:
                combination = self._waiting.pop(0)
                if self._sampler is not None:
                    self._sampler.take(combination)
            elif self._sampler is not None and len(self._asked) < self._trials:
                combination = self._sampler.ask(self._asked)
            else:
                break
            self._asked[combination] = self._make(self._values(combination))
            self._open.append(combination)
        if not self._open:
            return None
        first, last = len(self._asked) - len(self._open) + 1, len(self._asked)
        which = f"trial {last}" if first == last else f"trials {first} to {last}"
        because = f"{self._recipe}: {which} of {max(self._trials, last)}".removeprefix(": ")
        # On a provider to which a setting means nothing, two combinations are one candidate.
        asked = {self._asked[one].name: self._asked[one] for one in self._open}
        return Batch(list(asked.values()), because=because)

    def tell(self, run: Run) -> None:
        """What became of the last batch; and, of a resumed run, what it has besides."""
        results = {result.name: result for result in run.candidates}
        told = [(one, results.get(self._asked[one].name)) for one in self._open]
        self._open = []
        for combination, result in told:
            if self._sampler is not None:
                self._sampler.tell(combination, result, self._constraints)
        baseline = next((r for r in run.candidates if r.plan.role == "baseline"), None)
        skipped = any(result is not None and result.status == "skipped" for _, result in told)
        self._is_over |= skipped or (baseline is not None and baseline.failure is not None)
        if self._sampler is not None:
            self._waiting += [one for one in self._known(run) if one not in self._waiting]

    def summary(self, run: Run) -> SearchSummary:
        """How much of the space was seen."""
        asked = [candidate.name for candidate in self._asked.values()]
        return summarize_search(self._recipe, self.name, self._dimensions, asked, run)

    def _values(self, combination: Combination) -> dict[str, Any]:
        places = zip(self._dimensions.items(), combination, strict=True)
        return {label: values[i] for (label, values), i in places}

    def _known(self, run: Run) -> list[Combination]:
        """What a run has of this space that was not asked for yet, in the order of the run."""
        found = [self._combination_of(result.plan) for result in run.candidates]
        return [one for one in dict.fromkeys(found) if one is not None and one not in self._asked]

    def _combination_of(self, candidate: PlannedCandidate) -> Combination | None:
        """Where a candidate stands in the space; None where it does not."""
        values = {PROVIDER: candidate.provider, **candidate.choices}
        try:
            combination = tuple(
                choices.index(values[label]) for label, choices in self._dimensions.items()
            )
        except (KeyError, ValueError):
            return None
        same = self._make(self._values(combination)).name == candidate.name
        return combination if same and candidate.role == "candidate" else None


def search_of(
    plan: SearchPlan,
    source: Format,
    make: Callable[[Recipe, Mapping[str, Any], str], PlannedCandidate],
    *,
    seed: int,
    constraints: Constraints,
) -> OptunaSearch:
    """The search that a plan names.

    Args:
        plan: Says what is explored, and how far. Several providers are a choice like any other.
        source: Format of the model as the user brings it.
        make: The candidate that a recipe is with a value for each of its choices, on a provider.
        seed: Of the run.
        constraints: See :class:`OptunaSearch`.

    Raises:
        UnavailableError: The space is larger than the number of trials, and optuna is not installed.
    """
    recipe = Recipe(name=plan.recipe, summary="", when="", steps=plan.steps, session=plan.session)
    dimensions: dict[str, Sequence[Any]] = dict(recipe.dimensions(source))
    if len(plan.providers) > 1:
        dimensions[PROVIDER] = plan.providers

    def candidate(values: dict[str, Any]) -> PlannedCandidate:
        provider = values.pop(PROVIDER, plan.providers[0])
        return make(recipe, values, provider)

    return OptunaSearch(
        dimensions,
        candidate,
        trials=plan.trials,
        batch=plan.batch,
        seed=seed,
        recipe=plan.recipe,
        constraints=constraints,
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

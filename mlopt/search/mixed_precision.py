"""The fewest layers that must stay in float for a quantized candidate to keep its quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlopt.errors import MloptError
from mlopt.passes import PASSES
from mlopt.search._base import Batch
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.run import CandidateResult, Run

KEPT_IN_FLOAT = "float"
"""The choice that says how many layers a candidate of a walk keeps in float."""

EXCLUDE = "exclude"
"""The option of every quantizer that names the nodes that stay in float."""

Rank = Callable[[str], Sequence[Sequence[str]]]
"""Layers of a candidate by its name, the one that hurts most first: each the names of its nodes."""


class MixedPrecision:
    """Bisects the number of layers that stay in float, from a candidate that loses too much.

    Layers are kept in the order of a ranking, so that candidates form a walk from all in 8 bits to all
    in float. Assumed, and not checked: a candidate that is good enough stays so with more layers of
    the walk in float. Then, between one that is not good enough and one that is, the middle tells in
    which half the fewest lie. For n layers the metric is evaluated at most ceil(log2(n)) times, and
    when the walk ends, the neighbour below the one that was found has been seen to fail. All n in
    float are the float model, which needs no evaluation. A few answers at the edge may make a walk
    less than monotone; what was found has been measured to satisfy the condition all the same.

    The points of the walk are scored as they are asked for, and timed together at the end, in the
    same rounds. Where none is good enough, none is timed.
    """

    name = "mixed precision: a bisection over the layers that hurt most, kept in float"

    def __init__(
        self,
        start: PlannedCandidate,
        rank: Rank,
        good_enough: Callable[[CandidateResult], bool],
    ) -> None:
        """Prepares; nothing is ranked before the first question.

        Args:
            start: A quantized candidate that is not good enough.
            rank: Its layers. What it raises of :class:`MloptError` ends the walk, and is noted.
            good_enough: Whether a candidate that was scored keeps its quality. It should ask for the
                bound of non-inferiority, not for the point estimate: the walk looks for a candidate
                that passes on other examples as well.
        """
        self._start = start
        self._rank = rank
        self._good_enough = good_enough
        self._layers: Sequence[Sequence[str]] | None = None
        self._fails = 0
        self._passes = 0
        self._asked: dict[int, PlannedCandidate] = {}
        self._waiting: int | None = None
        self._is_over = False
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """How the walk ended, in words for the user."""
        return tuple(self._notes)

    def ask(self) -> Batch | None:
        """The middle of what is left, to be scored; at the end all that were scored, to be timed."""
        if self._layers is None:
            self._layers = self._ranked()
            self._passes = len(self._layers)
        if self._passes - self._fails > 1:
            middle = (self._passes + self._fails) // 2
            self._waiting = middle
            self._asked[middle] = self._keeping(self._layers[:middle])
            reason = f"{middle} of {len(self._layers)} layers of {self._start.name} in float"
            return Batch([self._asked[middle]], timed=False, because=reason)
        is_over, self._is_over = self._is_over, True
        return None if is_over else self._end(len(self._layers))

    def tell(self, run: Run) -> None:
        """Halves what is left, by whether the middle was good enough."""
        if self._waiting is None:
            return
        kept, self._waiting = self._waiting, None
        result = run.candidate(self._asked[kept].name)
        if result.failure is None and result.selection is None:
            self._notes.append(f"{self._walk} ended before {result.name} was scored")
            self._fails, self._passes, self._is_over = 0, 0, True
        elif result.failure is None and self._good_enough(result):
            self._passes = kept
        else:
            self._fails = kept

    @property
    def _walk(self) -> str:
        return f"the walk from {self._start.name} to float"

    def _ranked(self) -> Sequence[Sequence[str]]:
        """The layers; empty, with a note, where there is nothing to walk along."""
        if quantizer_of(self._start.steps) is None:
            layers: Sequence[Sequence[str]] = ()
            self._notes.append(f"no step of {self._start.name} can keep nodes in float")
        else:
            try:
                layers = self._rank(self._start.name)
            except MloptError as e:
                layers = ()
                self._notes.append(f"the layers of {self._start.name} were not ranked: {e}")
        if len(layers) == 1:
            self._notes.append(
                f"{self._start.name} has but one layer in 8 bits: it is that or float"
            )
        self._is_over = len(layers) < 2
        return layers

    def _end(self, count: int) -> Batch | None:
        """All that were scored; None where none was good enough."""
        if self._passes == count:
            tried = ", ".join(map(str, sorted(self._asked)))
            self._notes.append(
                f"{self._start.name} loses too much with any number of its {count} layers in float "
                f"(tried: {tried}): only the float model keeps its quality"
            )
            return None
        self._notes.append(
            f"{self._start.name} keeps its quality with {self._passes} of {count} layers in float, "
            f"and not with {self._fails}"
        )
        return Batch([self._asked[kept] for kept in sorted(self._asked)], because=self._walk)

    def _keeping(self, layers: Sequence[Sequence[str]]) -> PlannedCandidate:
        """The candidate with some layers in float."""
        steps = list(self._start.steps)
        position = quantizer_of(steps)
        assert position is not None, "looked for before the layers were ranked"
        quantizer = steps[position]
        nodes = [name for layer in layers for name in layer]
        excluded = list(dict.fromkeys((*quantizer.options.get(EXCLUDE, ()), *nodes)))
        steps[position] = Step(
            transformation=quantizer.transformation,
            options={**quantizer.options, EXCLUDE: excluded},
        )
        choices = {**self._start.choices, KEPT_IN_FLOAT: len(layers)}
        return self._start.with_choices(choices).model_copy(update={"steps": tuple(steps)})


def quantizer_of(steps: Sequence[Step]) -> int | None:
    """The position of the last step that can keep nodes in float; None where there is none."""
    kinds = [PASSES[step.transformation] for step in steps]
    found = [
        i
        for i, kind in enumerate(kinds)
        if kind.consumes == "onnx" and EXCLUDE in kind.model_fields
    ]
    return found[-1] if found else None


def kept_in_float(plan: PlannedCandidate) -> int:
    """How many layers a candidate keeps in float because a walk asked for that; 0: it is on none."""
    found = plan.choices.get(KEPT_IN_FLOAT, 0)
    return found if isinstance(found, int) else 0

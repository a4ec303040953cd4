"""One application of the pass: find, prune round by round, prove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlopt.errors import BuildError
from mlopt.frameworks.cost import Cost, count_cost
from mlopt.frameworks.surgery import changes_between
from mlopt.frameworks.torch_module import as_tensors, fresh_module, load_module, save_module
from mlopt.passes._pruning import proof
from mlopt.passes._pruning.candidates import find_candidates, unreached_layers
from mlopt.passes._pruning.coupling import Cut, Left, merged, removed_positions
from mlopt.passes._pruning.equivalence import first_obstacle, prepare
from mlopt.passes._pruning.gradients import leave_gradients
from mlopt.passes._pruning.importance import channel_scores
from mlopt.passes._pruning.plan import Planner, heads_left, widths
from mlopt.passes._pruning.ranking import Limits
from mlopt.passes._pruning.surgery import remove, renumbered, touched
from mlopt.passes._stored import check_reload, stored_copy
from mlopt.passes._training import History, Phase, train
from mlopt.types.artifact import Artifact
from mlopt.types.passes import Draft, PassContext
from mlopt.types.tensors import fixed_batch
from mlopt.types.torch_model import PruningRound, TorchModel

if TYPE_CHECKING:
    import torch

    from mlopt.passes.prune_channels import PruneChannels

    Tensors = Mapping[str, torch.Tensor]

TRIED_BATCHES = (2, 5)
"""Of examples that each cut is tried on: two sizes, so that one that forward assumes is noticed."""

CHECKED_BATCHES = (1, 7, 56)
"""Of examples that the pruned model is checked on."""

LEAST_REACHED = 0.1
"""Share of the target below which pruning is refused."""


class Pruning:
    """One application of the pass."""

    def __init__(
        self,
        options: PruneChannels,
        artifact: Artifact,
        module: torch.nn.Module,
        model: TorchModel,
        context: PassContext,
    ) -> None:
        self._options, self._artifact, self._context = options, artifact, context
        self._module, self._model = module, model
        self._fixed = fixed_batch(artifact.manifest.inputs)
        self._gone: list[Cut] = []
        self._history: list[PruningRound] = []
        self._curves: list[History] = []
        self._left: list[Left] = []

    def run(self) -> Draft:
        """All rounds, then the proof."""
        planner = self._plan()
        rounds = self._options.rounds
        for number in range(1, rounds + 1):
            self._round(planner, number)
            if number < rounds and self._options.finetune_epochs and self._gone:
                self._finetune(number)
        self._left += planner.left
        return self._finish(planner)

    def _plan(self) -> Planner:
        """Finds out what can be removed.

        Raises:
            BuildError: Nothing.
        """
        context, options = self._context, self._options
        context.emit("tracing which channels hang together")
        copy, _ = load_module(self._artifact, context.project_dir)
        for parameter in copy.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        checked = self._batches(CHECKED_BATCHES)
        unreached = unreached_layers(copy, checked)
        trial = prepare(
            copy,
            self._model.outputs,
            self._batches(TRIED_BATCHES),
            context.project_dir,
            context.seed,
        )
        found = find_candidates(
            trial, options.round_to, context.seed, unreached, lambda m, d: context.emit(m, d * 0.3)
        )
        self._left += found.left
        if not found.couplings:
            raise BuildError(f"no channel can be removed safely: {_shown(self._left)}")
        limits = Limits(options.round_to, options.max_layer_ratio)
        return Planner(trial, found.couplings, options.target, limits)

    def _round(self, planner: Planner, number: int) -> None:
        options = self._options
        self._context.emit(f"round {number} of {options.rounds}: choosing channels", 0.3)
        if options.importance == "taylor":
            leave_gradients(self._module, self._model.outputs, self._fixed, self._context)
        scores = channel_scores(options.importance, self._module, planner.couplings, self._gone)
        share = (1 - options.remove) ** (number / options.rounds)
        cuts = planner.choose(scores, share, self._gone)
        if cuts:
            self._remove(cuts)

    def _remove(self, cuts: Sequence[Cut]) -> None:
        """Removes channels from the model itself.

        Raises:
            BuildError: It is not what it should be afterwards; nothing of it is used.
        """
        trial = prepare(
            self._module,
            self._model.outputs,
            self._batches(CHECKED_BATCHES),
            self._context.project_dir,
        )
        # These cuts were told apart from wrong ones when they were chosen, if need be in float64.
        obstacle = first_obstacle(trial, cuts, self._gone, resolved=False)
        if obstacle is not None:
            layers = ", ".join(f"'{p}'" for cut in cuts for p in cut.coupling.producers)
            raise BuildError(f"{layers}: {obstacle}")
        gone = removed_positions(self._gone)
        producers = {m.layer for cut in cuts for m in cut.coupling.members if m.produces}
        removed = {
            layer: tuple(renumbered(positions, gone.get((layer, side), ())))
            for (layer, side), positions in sorted(removed_positions(cuts).items())
            if side == "out" and layer in producers
        }
        remove(self._module, cuts, self._gone)
        self._history.append(PruningRound(removed=removed))
        self._gone = merged([*self._gone, *cuts])

    def _finetune(self, number: int) -> None:
        options = self._options
        said = f"round {number} of {options.rounds}: "
        each = 0.6 / (options.rounds - 1)
        history = train(
            self._module,
            self._context,
            options.training(),
            outputs=self._model.outputs,
            fixed_batch=self._fixed,
            phase=Phase(f"round-{number}", said, 0.3 + each * (number - 1), 0.3 + each * number),
        )
        self._curves.append(history)

    def _finish(self, planner: Planner) -> Draft:
        """Stores the model and proves it.

        Raises:
            BuildError: Too little was removed, or the stored model is not the pruned one.
        """
        context, options, artifact = self._context, self._options, self._artifact
        batches = self._batches(CHECKED_BATCHES)
        before, after = planner.whole, count_cost(self._module, self._batches(TRIED_BATCHES)[0])
        reached = 1 - getattr(after, options.target) / getattr(before, options.target)
        self._require(reached)
        context.emit("storing and exporting the pruned model", 0.9)
        fresh = fresh_module(self._model, artifact.directory, context.project_dir)
        narrowed = touched(self._gone) | {change.module for change in self._model.changes}
        model = self._model.model_copy(
            update={
                "changes": changes_between(fresh, self._module, narrowed),
                "pruning": (*self._model.pruning, *self._history),
            }
        )
        stored = stored_copy(self._module, model, artifact, context)
        check_reload(self._module, stored, batches, context)
        proof.check_training_mode(artifact, stored, batches[-1], context)
        exported = proof.check_export(stored, context)
        facts = {**self._facts(before, after, reached), "exporter": exported["exporter"]}
        return Draft(
            main=save_module(self._module, model, context.workspace),
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            facts=facts,
        )

    def _facts(self, before: Cost, after: Cost, reached: float) -> dict[str, Any]:
        options = self._options
        facts: dict[str, Any] = {
            "parameters": after.parameters,
            "macs": after.macs,
            "parameters_before": before.parameters,
            "macs_before": before.macs,
            "target": options.target,
            "wanted": options.remove,
            "reached": round(reached, 4),
            "rounds": len(self._history),
            "removed": widths(self._gone),
            "heads": heads_left(self._gone),
            "renormalized": sorted({n for cut in self._gone for n in cut.coupling.norms}),
            "left": [left.model_dump(mode="json") for left in self._left],
        }
        if self._curves:
            facts["finetuning"] = [history.model_dump(mode="json") for history in self._curves]
        return facts

    def _require(self, reached: float) -> None:
        options = self._options
        if reached < LEAST_REACHED * options.remove:
            raise BuildError(
                f"pruning was to remove {options.remove:.0%} of the {options.target}, and can safely "
                f"remove {reached:.1%}: {_shown(self._left)}. A smaller 'round_to' or a larger "
                "'max_layer_ratio' may allow more."
            )

    def _batches(self, sizes: tuple[int, ...]) -> list[Tensors]:
        wanted = (self._fixed,) if self._fixed else sizes
        return [as_tensors(next(iter(self._context.data("selection", size)))) for size in wanted]


def _shown(left: Sequence[Left], most: int = 3) -> str:
    parts = []
    for one in left[:most]:
        names = ", ".join(f"'{layer}'" for layer in one.layers[:3])
        parts.append(f"{names}{', ...' if len(one.layers) > 3 else ''}: {one.reason}")
    more = f"; and {len(left) - most} more" if len(left) > most else ""
    return "; ".join(parts) + more

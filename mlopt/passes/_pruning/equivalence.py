"""Trying a cut: a channel that is removed must be one that the rest can do without.

The model without the channels must answer as the whole model does whose layers take no notice of
them. Whatever ``forward`` does with the channels in between (moves, pads, slices or mixes them), a
wrong idea of it shows as another shape, an exception or another answer.

A norm over all of the channels (a LayerNorm, or a GroupNorm of one group) is left out of this: it only
scales and shifts in both, and in the pruned model it takes its mean and variance over what is left.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import BuildError
from mlopt.frameworks.torch_module import call_module, name_outputs
from mlopt.passes._pruning.coupling import Coupling, Cut, Member
from mlopt.passes._pruning.surgery import ignore, remove, restored, scale_only, touched
from mlopt.workers.usercode import describe

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]

TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
"""Largest accepted difference, over what the answer varies by."""

ROUNDING = {"float64": 1e-13, "float32": 3e-5}
"""What rounding may make of an answer, over its largest magnitude: some hundred times the machine epsilon."""

UNRESOLVED = 0.05
"""Of what the answer varies by: where rounding may reach this, nothing can be told from it."""

OTHER_ANSWERS = (
    "without some of their channels the answers are others than when the layers that read them ignore "
    "these: forward moves, pads, slices or mixes channels in a way that cannot be followed"
)

UNTOLD = (
    "the answer '{name}' varies by {varies:.2g} around {level:.2g}, too little for {dtype} to show "
    "whether removing them is right. Where forward runs in float64 too (without a fixed dtype, as "
    "in .float()), it can be told"
)

NOISE = 0.05
"""Of what is added to each tensor of the copy that cuts are tried on, over its own magnitude."""


class Trial(NamedTuple):
    """A module, the examples that it is tried on, and what it answers to them.

    Attributes:
        answers: By name, for each batch.
    """

    module: torch.nn.Module
    outputs: tuple[str, ...]
    batches: tuple[Tensors, ...]
    project_dir: Path
    answers: tuple[Tensors, ...]


def prepare(
    module: torch.nn.Module,
    outputs: tuple[str, ...],
    batches: Sequence[Tensors],
    project_dir: Path,
    seed: int | None = None,
) -> Trial:
    """Gets ready to try cuts on ``module``.

    Args:
        module: In evaluation mode. Changed in place where ``seed`` is given: it computes in
            float64 where it can, and every weight is moved a little, so that none is exactly
            zero or equal to another and a mistake cannot hide.
        outputs: Names of its outputs.
        batches: Inputs by name.
        project_dir: Where the user's code is.
        seed: Of the noise; None leaves the module as it is.

    Raises:
        BuildError: It answers the same batch differently when asked twice.
    """
    import torch

    if seed is not None:
        batches = _in_double(module, batches)
        _stir(module, outputs, batches, seed)
    answers = [_run(module, outputs, batch) for batch in batches]
    again = _run(module, outputs, batches[0])
    if not all(torch.equal(again[name], answer) for name, answer in answers[0].items()):
        raise BuildError(
            "the model answers the same examples differently when it is asked twice, so it cannot be "
            "checked that pruning is right. Make forward deterministic in evaluation mode."
        )
    return Trial(module, outputs, tuple(batches), project_dir, tuple(answers))


def first_obstacle(
    trial: Trial, cuts: Sequence[Cut], before: Sequence[Cut] = (), resolved: bool = True
) -> str | None:
    """Why ``cuts`` must not be made together; None when they can be. Leaves the module as it was.

    Args:
        trial: The module, without what ``before`` took.
        cuts: What is to be removed.
        before: What is gone from the module already.
        resolved: Whether it is an obstacle that rounding could hide a mistake.
    """
    module = trial.module
    answers = []
    for batch, whole in zip(trial.batches, trial.answers, strict=True):
        with restored(module, touched(cuts)):
            scale_only(module, cuts)
            normed = any(cut.coupling.norms for cut in cuts)
            reference = _run(module, trial.outputs, batch) if normed else whole
            ignore(module, cuts, before)
            ignoring = _run(module, trial.outputs, batch)
        with restored(module, touched(cuts)), _Calls(module) as calls:
            try:
                remove(module, cuts, before)
                scale_only(module, cuts)
                pruned = _run(module, trial.outputs, batch)
            except Exception as e:  # noqa: BLE001  # anything can go wrong in foreign code
                where = f" in '{calls.innermost}'" if calls.innermost else ""
                return (
                    "forward does not run without some of their channels: "
                    f"{describe(e, trial.project_dir)}{where}"
                )
        if {k: v.shape for k, v in pruned.items()} != {k: v.shape for k, v in whole.items()}:
            return "the shape of the model's output depends on their channels"
        answers.append((reference, ignoring, pruned))
    return _differs(answers, resolved)


def unfelt(trial: Trial, couplings: Iterable[Coupling]) -> set[str]:
    """Names of the couplings that no answer depends on, so that trying a cut would show nothing.

    That is: the gradient of a random sum of all answers is zero in every weight that reads them.
    """
    import torch

    unknown = {c.name: c for c in couplings}
    layers = {m.layer for c in unknown.values() for m in c.members if m.consumes}
    weights = {name: trial.module.get_submodule(name)._parameters["weight"] for name in layers}
    wanted = {name: weight for name, weight in sorted(weights.items()) if weight is not None}
    generator = torch.Generator().manual_seed(0)
    for batch in trial.batches if wanted else ():
        with torch.enable_grad():
            answers = name_outputs(call_module(trial.module, batch), trial.outputs).values()
            total = torch.zeros((), dtype=torch.float64)
            for answer in answers:
                if answer.grad_fn is not None:
                    factors = torch.randn(answer.shape, generator=generator, dtype=answer.dtype)
                    total = total + (answer * factors).sum()
            found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
        gradients = dict(zip(wanted, found, strict=True))
        for coupling in list(unknown.values()):
            if any(_feels(trial.module, m, gradients.get(m.layer)) for m in coupling.members):
                del unknown[coupling.name]
    return set(unknown)


def _feels(module: torch.nn.Module, member: Member, gradient: torch.Tensor | None) -> bool:
    if gradient is None or not member.consumes:
        return False
    layer = module.get_submodule(member.layer)
    if getattr(layer, "transposed", False):
        return bool(gradient[list(member.channels)].any())
    if getattr(layer, "groups", 1) > 1:
        return bool(gradient.any())
    return bool(gradient[:, list(member.channels)].any())


def sample_cut(coupling: Coupling, multiple: int, seed: int) -> Cut:
    """About half of the units, at random and out of line, as many as a multiple leaves."""
    each, whole = coupling.block(multiple), len(coupling.units)
    count = whole % each + max(1, whole // each // 2) * each
    count = min(count, whole - 1)
    chosen = random.Random(seed).sample(range(len(coupling.units)), count)  # noqa: S311
    return Cut(coupling, tuple(sorted(chosen)))


def _in_double(module: torch.nn.Module, batches: Sequence[Tensors]) -> Sequence[Tensors]:
    """Casts module and inputs to float64, where forward then still runs."""
    import torch

    dtypes = {name: tensor.dtype for name, tensor in _floating(module)}
    wide = [
        {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
        for batch in batches
    ]
    module.double()
    try:
        with torch.inference_mode():
            call_module(module, wide[0])
    except Exception:  # noqa: BLE001  # forward makes float32 tensors of its own
        for name, tensor in _floating(module):
            tensor.data = tensor.data.to(dtypes[name])
        return batches
    return wide


def _floating(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
        if tensor.is_floating_point():
            yield name, tensor


def _stir(
    module: torch.nn.Module, outputs: tuple[str, ...], batches: Sequence[Tensors], seed: int
) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)
    kept = {name: p.detach().clone() for name, p in module.named_parameters()}
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point() and parameter.numel():
                size = float(parameter.square().mean().sqrt()) or 1.0
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(noise, alpha=NOISE * size)
        answers = _run(module, outputs, batches[0]).values()
        finite = all(torch.isfinite(v).all() for v in answers if v.is_floating_point())
        if not finite:
            for name, parameter in module.named_parameters():
                parameter.copy_(kept[name])


def _run(module: torch.nn.Module, outputs: tuple[str, ...], batch: Tensors) -> Tensors:
    import torch

    with torch.inference_mode():
        return name_outputs(call_module(module, batch), outputs)


def _differs(answers: Sequence[tuple[Tensors, Tensors, Tensors]], resolved: bool) -> str | None:
    """Why the pruned model is not the one that ignores the channels; None when it is.

    Args:
        answers: For each batch, of the whole model, of the one that ignores them, and of the pruned.
        resolved: Whether it is a reason that rounding could hide a difference.
    """
    import torch

    flat = told = False
    for name in answers[0][0]:
        whole, ignoring, pruned = ([batch[which][name] for batch in answers] for which in range(3))
        if not whole[0].is_floating_point():
            if not all(map(torch.equal, ignoring, pruned)):
                return OTHER_ANSWERS
            continue
        dtype = str(whole[0].dtype).removeprefix("torch.")
        error = _farthest(ignoring, pruned)
        # By what the answer varies and not by its level: a large bias could hide any mistake.
        varies = max(_farthest(ignoring, whole), _spread(whole))
        if error == varies == 0:  # nothing of the input reaches it
            flat = True
            continue
        level = max(_largest(v) for v in (*whole, *ignoring))
        rounding = ROUNDING.get(dtype, 2 * torch.finfo(whole[0].dtype).eps) * level
        if not error <= max(TOLERANCE.get(dtype, 1e-3) * varies, rounding):  # NaN is none
            return OTHER_ANSWERS
        if resolved and rounding > UNRESOLVED * varies:
            return UNTOLD.format(name=name, varies=varies, level=level, dtype=dtype)
        told = True
    if resolved and flat and not told:
        return "no answer varies on the examples tried, so it cannot be checked that removing them is right"
    return None


def _farthest(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    return max(_largest(one - other) for one, other in zip(some, others, strict=True))


def _spread(answers: Sequence[torch.Tensor]) -> float:
    """Farthest that any number of an answer is from itself on another example."""
    import torch

    rows = [answer if answer.ndim else answer[None] for answer in answers]
    if len({row.shape[1:] for row in rows}) == 1:
        rows = [torch.cat(rows)]
    return max(_largest(row.amax(0) - row.amin(0)) if row.numel() else 0.0 for row in rows)


def _largest(tensor: torch.Tensor) -> float:
    """Largest magnitude."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0


class _Calls:
    """Which submodule was being called when an exception went through."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._open: list[str] = []

    @property
    def innermost(self) -> str:
        """Name of the innermost call that has not returned."""
        return self._open[-1] if self._open else ""

    def __enter__(self) -> _Calls:
        self._hooks: list[Any] = []
        for name, child in self._module.named_modules():
            if name:
                self._hooks.append(
                    child.register_forward_pre_hook(lambda *_, name=name: self._open.append(name))
                )
                self._hooks.append(child.register_forward_hook(lambda *_: self._close()))
        return self

    def _close(self) -> None:
        self._open.pop()

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

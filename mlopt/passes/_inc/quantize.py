"""neural-compressor's quantization of a traced graph."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    import numpy as np
    import torch

    Arrays = Mapping[str, np.ndarray[Any, Any]]
    Graph = torch.fx.GraphModule
    Batches = Callable[[], Iterable[Arrays]]

Algorithm = Literal["minmax", "kl"]


class Scheme(NamedTuple):
    """How activations are quantized; weights are symmetric, with a scale for each channel.

    Attributes:
        activations: Type of the integers.
        symmetric: Whether zero lies in the middle of them.
        algorithm: ``minmax`` averages the ends over batches, ``kl`` chooses by a histogram.
    """

    activations: Literal["uint8", "int8"]
    symmetric: bool
    algorithm: Algorithm


class Quantized(NamedTuple):
    """A graph with Q/DQ.

    Attributes:
        scheme: Of this graph.
        tried: What each algorithm reached; empty without tuning.
    """

    graph: Graph
    scheme: Scheme
    tried: dict[str, float]


def quantize(graph: Graph, scheme: Scheme, batches: Batches) -> Quantized:
    """Quantizes in one way.

    Args:
        graph: Is used up.
        scheme: The way.
        batches: Gives the calibration examples, from the first.
    """
    with _silent():
        from neural_compressor.torch.quantization import convert, prepare

        prepared = prepare(graph, quant_config=_config(scheme))
        _show(prepared, batches)
        return Quantized(convert(prepared), scheme, {})


def quantize_best(graph: Graph, scheme: Scheme, batches: Batches) -> Quantized:
    """Quantizes with each algorithm, and keeps what stays closest to the float graph.

    What is compared is the answer to each calibration example, and not the metric: on a few hundred
    examples a metric can hardly tell two calibrations apart, and not every project brings targets.

    Args:
        graph: In float.
        scheme: Its algorithm comes first, and wins a tie.
        batches: Gives the calibration examples, from the first.
    """
    others = [name for name in get_args(Algorithm) if name != scheme.algorithm]
    schemes = [scheme, *(scheme._replace(algorithm=name) for name in others)]
    scores: list[float] = []

    def judge(model: Graph) -> float:
        scores.append(closeness(graph, model, batches()))
        return scores[-1]

    with _silent():
        from neural_compressor.torch.quantization import TuningConfig, autotune

        # The float graph comes first, as the baseline; nothing but its own score ends the search.
        tuning = TuningConfig(config_set=[_config(one) for one in schemes], tolerable_loss=0.0)
        best = autotune(graph, tuning, eval_fn=judge, run_fn=lambda model: _show(model, batches))
    reached = dict(zip(schemes, scores[1:], strict=False))
    chosen = max(reached, key=lambda one: reached[one])
    return Quantized(best, chosen, {one.algorithm: score for one, score in reached.items()})


def closeness(reference: Graph, model: Graph, batches: Iterable[Arrays]) -> float:
    """1 where both answer the same; less the root of the error's share of the answers' energy."""
    import torch

    error = energy = 0.0
    with torch.no_grad():
        for batch in batches:
            wanted, found = (_answers(one, batch) for one in (reference, model))
            for one, other in zip(wanted, found, strict=True):
                error += float((one - other).square().sum())
                energy += float(one.square().sum())
    return 1.0 - (error / energy) ** 0.5 if energy else 1.0


def _answers(graph: Graph, batch: Arrays) -> list[torch.Tensor]:
    """All floating-point outputs, in their order."""
    from torch.utils import _pytree

    leaves = _pytree.tree_leaves(_ask(graph, batch))
    return [leaf.double() for leaf in leaves if leaf.is_floating_point()]


def _ask(graph: Graph, batch: Arrays) -> Any:
    from mlopt.frameworks.torch_module import as_tensors, call_module

    return call_module(graph, as_tensors(batch))


def _show(prepared: Graph, batches: Batches) -> None:
    """Lets the observers of a prepared graph see every calibration example."""
    import torch

    with torch.no_grad():
        for batch in batches():
            _ask(prepared, batch)


def _config(scheme: Scheme) -> Any:
    from neural_compressor.torch.quantization import StaticQuantConfig

    return StaticQuantConfig(
        act_dtype=scheme.activations, act_sym=scheme.symmetric, act_algo=scheme.algorithm
    )


@contextlib.contextmanager
def _silent() -> Any:
    """Without neural-compressor's log, which tells each step of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

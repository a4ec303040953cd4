"""Weights that become zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pass_bench import Bench
from torch import nn

from mlopt.errors import BuildError
from mlopt.frameworks.torch_module import load_module
from mlopt.passes import PASSES
from mlopt.passes._sparsity import find_weights, kept_of_four, mask_weights, smallest, zipped_bytes
from mlopt.types.passes import Brought

CNN = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * 4 * 4, 4),
    )
"""


def facts(artifact: Any) -> dict[str, Any]:
    found: dict[str, Any] = artifact.manifest.lineage[-1].facts
    return found


def groups(weight: torch.Tensor) -> torch.Tensor:
    """How many are not zero of each four neighbours along the input axis."""
    return weight.movedim(1, -1).reshape(-1, 4).ne(0).sum(dim=1)


@pytest.mark.parametrize("shape", [(6, 8), (5, 12, 3), (4, 8, 3, 3)])
def test_the_larger_two_of_each_four_inputs_are_kept(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kept = kept_of_four(weight)

    assert groups(kept).tolist() == [2] * (weight.numel() // 4)
    magnitudes = weight.abs().movedim(1, -1).reshape(-1, 4)
    wanted = magnitudes.topk(2, dim=1).values.sum()
    torch.testing.assert_close((weight.abs() * kept).sum(), wanted)


def test_among_equals_the_first_are_kept() -> None:
    assert kept_of_four(torch.ones(2, 4)).tolist() == [[True, True, False, False]] * 2


def test_2to4_holds_in_every_layer_that_it_fits(bench: Bench) -> None:
    source = bench.source(CNN)
    sparse = bench.apply("sparsify", source)
    before, _ = load_module(source, bench.project)
    after, _ = load_module(sparse, bench.project)

    assert facts(sparse)["layers"] == 2
    assert facts(sparse)["share_of_their_weights_that_is_zero"] == 0.5
    (left,) = facts(sparse)["left"]
    assert left == {"layers": ["0"], "reason": "the number of its inputs is no multiple of 4"}
    torch.testing.assert_close(after[0].weight, before[0].weight, rtol=0, atol=0)
    for i in (2, 5):
        assert groups(after[i].weight).max() == 2
        stays = after[i].weight != 0
        torch.testing.assert_close(after[i].weight[stays], before[i].weight[stays], rtol=0, atol=0)
        torch.testing.assert_close(after[i].bias, before[i].bias, rtol=0, atol=0)
    assert facts(sparse)["zipped_bytes"] < 0.8 * facts(sparse)["zipped_bytes_before"]
    assert sparse.manifest.size_bytes == pytest.approx(source.manifest.size_bytes, rel=0.01)


@pytest.mark.parametrize(("scope", "even"), [("layer", True), ("global", False)])
def test_unstructured_zeroes_the_share_that_was_asked_for(
    bench: Bench, scope: str, even: bool
) -> None:
    code = CNN.replace("    return nn.Seq", "    model = nn.Seq") + (
        "    model[5].weight.data *= 0.01\n    return model\n"
    )
    sparse = bench.apply(
        "sparsify", bench.source(code), pattern="unstructured", share=0.75, scope=scope
    )
    module, _ = load_module(sparse, bench.project)
    shares = [float((module[i].weight == 0).double().mean()) for i in (0, 2, 5)]

    assert facts(sparse)["share_of_their_weights_that_is_zero"] == pytest.approx(0.75, abs=0.001)
    assert (max(shares) - min(shares) < 0.01) is even
    assert (shares[2] > 0.76) is not even


def test_exactly_as_many_go_as_were_asked_for_even_among_equals() -> None:
    magnitudes = torch.tensor([1.0, 0.5, 1.0, 1.0, 2.0])

    assert smallest(magnitudes, 0).tolist() == [False] * 5
    assert smallest(magnitudes, 3).tolist() == [True, True, True, False, False]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.first = nn.Linear(8, 8)
        self.again = nn.Linear(8, 8)
        self.again.weight = self.first.weight
        self.decoder = nn.Linear(8, 12)
        self.decoder.weight = self.embedding.weight


def test_weights_are_found_once_and_an_embedding_keeps_its_own() -> None:
    found = find_weights(Tied(), exclude=(), multiple=4)

    assert list(found.weights) == ["attention.in_proj_weight", "attention.out_proj", "first"]
    (left,) = found.left
    assert left["layers"] == ["decoder"]
    assert "shares its weights" in left["reason"]


def test_modules_that_are_excluded_keep_all_of_their_weights() -> None:
    found = find_weights(Tied(), exclude=("attention",), multiple=4)

    assert list(found.weights) == ["first"]
    assert {
        "layers": ["attention.in_proj_weight", "attention.out_proj"],
        "reason": "it is excluded",
    } in (found.left)


@pytest.mark.parametrize(
    ("module", "exclude", "reason"),
    [
        (nn.ReLU(), (), "no linear layer, convolution or attention can be masked"),
        (
            nn.Sequential(nn.Linear(6, 4)),
            (),
            r"\(0: the number of its inputs is no multiple of 4\)",
        ),
        (nn.Sequential(nn.Linear(8, 4)), ("1",), "'exclude' names no modules of the model: 1"),
    ],
)
def test_a_model_that_no_mask_fits_is_refused(
    module: nn.Module, exclude: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(BuildError, match=reason):
        find_weights(module, exclude, multiple=4)


def test_zipped_a_sparse_model_is_smaller_and_shared_weights_count_once() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    dense = zipped_bytes(module)
    mask_weights({"0": module[0].weight, "1": module[1].weight}, "global", 0.9)
    sparse = zipped_bytes(module)
    module[1].weight = module[0].weight

    assert dense > 0.8 * 64 * 64 * 2 * 4
    assert sparse < 0.4 * dense
    assert zipped_bytes(module) < 0.7 * sparse


@pytest.mark.parametrize("name", ["finetune", "distill", "prune_channels"])
def test_no_pass_that_would_fill_the_zeros_may_follow(name: str) -> None:
    brought = Brought("torch", has_student=True)
    reason = PASSES[name]().inapplicable(("sparsify",), brought)

    assert reason is not None
    assert f"'{name}' would undo the zeros of 'sparsify'" in reason
    assert PASSES[name]().inapplicable((), brought) is None

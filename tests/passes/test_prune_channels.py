"""Pruning on models that are followed in full, in part, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pruning_models
import pytest
import torch
from pass_bench import Bench, images
from pruning_models import CLASSES

from mlopt.errors import BuildError
from mlopt.frameworks.cost import count_cost
from mlopt.frameworks.torch_module import load_module
from mlopt.passes._pruning import proof
from mlopt.store.snapshot import Snapshot
from mlopt.types.artifact import Artifact
from mlopt.types.tensors import TensorSpec

CODE = Path(pruning_models.__file__).read_text(encoding="utf-8")

BLOCK = {"attention.q", "attention.k", "attention.v", "mlp.0"}
QKV = {"attention.qkv", "mlp.0"}
SELF = "attention.self."
BERT = {SELF + "query", SELF + "key", SELF + "value", "intermediate.dense"}


def of_layers(prefix: str, names: set[str], count: int = 2) -> set[str]:
    return {f"{prefix}{i}.{name}" for i in range(count) for name in names}


PRUNED = {
    "residual": {"stem.0", "a1.0", "a2.0", "b1.0", "b2.0", "shortcut.0"},
    "padded shortcut": {"a1.0", "b1.0"},
    "inverted residuals": {"stem"} | of_layers("blocks.", {"0", "6"}),
    "concatenation": {"a.0", "b.0", "c.0"},
    "GroupNorm": {"a", "b"},
    "grouped convolution": {"a", "g", "b"},
    "shuffled channels": {"b"},
    "flipped channels": {"b"},
    "rolled channels": {"b"},
    "softmax over channels": {"b"},
    "hard-coded channels": {"a", "c"},
    "MLP with BatchNorm": {"a", "b"},
    "MLP with LayerNorm": {"a", "b"},
    "shared layer": {"a", "m", "b"},
    "tied weight": {"a"} - {"a"},
    "GRU": {"b"},
    "LSTM": {"b"},
    "branch not taken": {"d"},
    "branch of training": {"d"},
    "weight norm": {"b"},
    "separate attention": of_layers("blocks.", BLOCK),
    "fused attention": of_layers("blocks.", QKV),
    "attention by input width": {"blocks.0.mlp.0"},
    "nn.TransformerEncoder": of_layers("encoder.layers.", {"linear1"}),
    "BERT": of_layers("bert.bert.encoder.layer.", BERT) | {"bert.bert.pooler.dense"},
}
"""By model, every layer that loses channels when as many as possible are to go."""

LEFT = {
    "padded shortcut": ("b2.0", "forward pads, slices or repeats channels"),
    "GroupNorm": ("head", "reach the model's output"),
    "shuffled channels": ("a", "forward moves, pads, slices or mixes channels"),
    "flipped channels": ("a", "forward moves, pads, slices or mixes channels"),
    "rolled channels": ("a", "forward moves, pads, slices or mixes channels"),
    "softmax over channels": ("a", "forward moves, pads, slices or mixes channels"),
    "hard-coded channels": ("b", "cannot be multiplied"),
    "tied weight": ("m", "a weight of theirs is used in another place too"),
    "GRU": ("a", "a recurrent layer ('rnn') reads their channels"),
    "LSTM": ("a", "a recurrent layer ('rnn') reads their channels"),
    "branch not taken": ("b", "'c' may read or make their channels"),
    "branch of training": ("b", "'c' may read or make their channels"),
    "weight norm": ("a", "computed from others"),
    "separate attention": ("rows", "a residual stream that 'norm' normalizes"),
    "attention by input width": (
        "blocks.0.attention.q",
        "where forward computes the size of a head",
    ),
    "nn.TransformerEncoder": ("encoder.layers.0.self_attn", "the heads of nn.MultiheadAttention"),
}
"""By model, one layer that keeps its channels, and a part of the reason."""


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.add_split("training", {"image": images(3, 96)}, np.arange(96) % CLASSES)
    return bench


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are most of the time that such small models take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the export out, which takes seconds and is tried by other tests."""
    monkeypatch.setattr(proof, "check_export", lambda *_: {"exporter": "none"})


def source(bench: Bench, name: str) -> Artifact:
    return bench.source(f"{CODE}\n\ndef build():\n    return MODELS[{name!r}]()\n")


def prune(bench: Bench, whole: Artifact, **options: Any) -> Artifact:
    return bench.apply("prune_channels", whole, **{"threads": 1, **options})


def facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.manifest.lineage[-1].facts


def reason(found: Mapping[str, Any], layer: str) -> str:
    return next(one["reason"] for one in found["left"] if layer in one["layers"])


def answers(artifact: Artifact, bench: Bench) -> torch.Tensor:
    module, _ = load_module(artifact, bench.project)
    with torch.inference_mode():
        return module(torch.from_numpy(images(1, 9)))


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("name", [n for n in PRUNED if PRUNED[n]])
def test_what_can_be_followed_is_removed_and_the_rest_is_left_with_a_reason(
    bench: Bench, name: str
) -> None:
    whole = source(bench, name)
    pruned = prune(bench, whole, remove=0.97, max_layer_ratio=0.5)

    found = facts(pruned)
    assert set(found["removed"]) == PRUNED[name]
    assert all(after < before for before, after in found["removed"].values())
    if name in LEFT:
        layer, why = LEFT[name]
        assert why in reason(found, layer)
    module, model = load_module(pruned, bench.project)
    cost = count_cost(module, {"image": torch.from_numpy(images(1, 2))})
    assert (cost.parameters, cost.macs) == (found["parameters"], found["macs"])
    assert cost.parameters < found["parameters_before"]
    assert cost.macs < found["macs_before"]
    assert set(model.pruning[0].removed) == PRUNED[name]
    for layer, (before, after) in found["removed"].items():
        width = len(model.pruning[0].removed[layer])
        assert width == before - after
        assert module.get_submodule(layer).weight.shape[0] == after
    for size in (1, 3):
        assert module(torch.from_numpy(images(1, size))).shape == (size, CLASSES)


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("name", ["residual", "separate attention"])
def test_without_its_channels_a_model_answers_as_with_them_zeroed(bench: Bench, name: str) -> None:
    whole = source(bench, name)
    pruned = prune(bench, whole)

    module, _ = load_module(whole, bench.project)
    _, model = load_module(pruned, bench.project)
    readers = {"q": None, "k": None, "v": "proj", "0": "2"}
    with torch.no_grad():
        for layer, channels in model.pruning[0].removed.items():
            if name == "residual":  # what is zero behind the norm stays so up to the next layer
                norm = module.get_submodule(layer.replace(".0", ".1"))
                norm.weight[list(channels)] = 0
                norm.bias[list(channels)] = 0
            else:
                around, _, last = layer.rpartition(".")
                if readers[last] is not None:
                    reader = module.get_submodule(f"{around}.{readers[last]}")
                    reader.weight[:, list(channels)] = 0
    with torch.inference_mode():
        wanted = module(torch.from_numpy(images(1, 9)))
    assert (answers(pruned, bench) - wanted).abs().max() < 1e-5
    assert (answers(whole, bench) - wanted).abs().max() > 1e-3


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("target", ["macs", "parameters"])
@pytest.mark.parametrize("name", ["residual", "separate attention", "BERT"])
def test_a_target_is_met_closely(bench: Bench, name: str, target: str) -> None:
    found = facts(prune(bench, source(bench, name), target=target, remove=0.3, round_to=4))

    assert 0.29 <= found["reached"] <= 0.36
    left = found[target] / found[f"{target}_before"]
    assert left == pytest.approx(1 - found["reached"], abs=1e-4)


@pytest.mark.usefixtures("no_export")
def test_channels_are_rounded_and_no_layer_loses_more_than_its_cap(bench: Bench) -> None:
    pruned = bench.apply(
        "prune_channels", source(bench, "residual"), remove=0.9, round_to=4, max_layer_ratio=0.6
    )

    found = facts(pruned)
    assert found["reached"] < 0.9
    assert set(map(tuple, found["removed"].values())) == {(16, 8), (32, 16)}


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("importance", ["magnitude", "taylor", "bn_scale"])
def test_the_least_important_channels_go(bench: Bench, importance: str) -> None:
    code = f"""{CODE}

def build():
    model = Residual()
    weak = list(range(1, 16, 2))
    with torch.no_grad():
        model.a1[0].weight[weak] *= 1e-3
        model.a2[0].weight[:, weak] *= 1e-3
        model.a1[1].weight[weak] *= 1e-3
    return model
"""
    pruned = prune(bench, bench.source(code), remove=0.1, importance=importance)

    _, model = load_module(pruned, bench.project)
    assert model.pruning[0].removed["a1.0"] == tuple(range(1, 16, 2))


@pytest.mark.usefixtures("no_export")
def test_rounds_go_on_from_each_other_with_training_in_between(bench: Bench) -> None:
    whole = source(bench, "residual")
    options = {"remove": 0.6, "rounds": 2, "importance": "taylor", "finetune_epochs": 1}
    pruned = prune(bench, whole, **options)

    found = facts(pruned)
    _, model = load_module(pruned, bench.project)
    assert found["rounds"] == len(model.pruning) == 2
    assert len(found["finetuning"]) == 1
    assert found["reached"] >= 0.6
    for layer, (before, after) in found["removed"].items():
        rounds = [r.removed.get(layer, ()) for r in model.pruning]
        assert sum(map(len, rounds)) == before - after
        assert max(rounds[1], default=0) < before - len(rounds[0])
    again = prune(bench, whole, **options)
    assert torch.equal(answers(pruned, bench), answers(again, bench))


@pytest.mark.usefixtures("no_export")
def test_a_pruned_model_can_be_pruned_again(bench: Bench) -> None:
    once = prune(bench, source(bench, "separate attention"), remove=0.3)
    twice = prune(bench, once, remove=0.3)

    _, model = load_module(twice, bench.project)
    assert len(model.pruning) == 2
    assert facts(twice)["macs_before"] == facts(once)["macs"] > facts(twice)["macs"]


@pytest.mark.parametrize("name", ["padded shortcut"])
def test_what_was_pruned_in_part_exports_and_answers_alike(bench: Bench, name: str) -> None:
    pruned = prune(bench, source(bench, name))

    assert facts(pruned)["exporter"] == "dynamo"
    assert facts(pruned)["reached"] >= 0.5


@pytest.mark.parametrize("name", ["GroupNorm of one group", "tied weight"])
def test_a_model_of_which_nothing_can_go_is_refused_with_the_reasons(
    bench: Bench, name: str
) -> None:
    with pytest.raises(BuildError, match="no channel can be removed safely: 'head'"):
        prune(bench, source(bench, name))


def test_reaching_too_little_of_the_target_is_refused(bench: Bench) -> None:
    with pytest.raises(BuildError, match=r"can safely remove 3\.9%: .*attention"):
        prune(bench, source(bench, "attention by input width"), max_layer_ratio=0.07)


def test_a_model_that_answers_at_random_is_refused(bench: Bench) -> None:
    code = CODE.replace(
        "self.head(self.b(x).relu())", "self.head(self.b(x).relu() + torch.rand(1))"
    )
    with pytest.raises(BuildError, match="answers the same examples differently"):
        prune(bench, bench.source(f"{code}\n\ndef build():\n    return Shared()\n"))


def test_a_model_that_autograd_cannot_follow_is_refused(bench: Bench) -> None:
    code = f"{CODE}\n\ndef build():\n    return Quiet()\n\nclass Quiet(Shared):\n"
    code += "    def forward(self, image):\n        return super().forward(image).detach()\n"
    with pytest.raises(BuildError, match=r"cannot be traced|no channel can be removed safely"):
        prune(bench, bench.source(code))


@pytest.mark.usefixtures("no_export")
def test_a_model_that_insists_on_its_batch_is_pruned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Snapshot.batches
    monkeypatch.setattr(Snapshot, "batches", lambda split, _: batches(split, 8))
    code = f"{CODE}\n\ndef build():\n    return Eight()\n\nclass Eight(Shared):\n"
    code += "    def forward(self, image):\n        return super().forward(image.reshape(8, -1))\n"
    eight = TensorSpec(name="image", dtype="float32", shape=(8, 1, 8, 8))
    found = facts(prune(bench, bench.source(code, (eight,))))

    assert found["reached"] >= 0.5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "moves, pads, slices or mixes channels"),
        ({"CAST": ".float()"}, "moves, pads, slices or mixes channels"),
        ({"LEVEL": "2e5"}, "moves, pads, slices or mixes channels"),
        ({"LEVEL": "2e5", "CAST": ".float()"}, "too little for float32"),
        ({"LEVEL": "2e5", "OTHER": ", image.argmax(3)"}, "moves, pads, slices or mixes channels"),
    ],
)
def test_no_bias_and_no_other_output_hides_that_channels_are_mixed(
    bench: Bench, changes: Mapping[str, str], reason: str
) -> None:
    code = """
import torch
from torch import nn

class Shares(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.head = nn.Linear(64, 32), nn.Linear(32, 1)
        nn.init.constant_(self.head.bias, LEVEL)

    def forward(self, image):
        x = self.a(image.flatten(1)CAST).relu()
        return self.head(x / x.sum(1, keepdim=True))OTHER

def build():
    return Shares()
"""
    for key, value in {"LEVEL": "0.0", "CAST": "", "OTHER": "", **changes}.items():
        code = code.replace(key, value)
    with pytest.raises(BuildError, match=f"'a': .*{reason}"):
        prune(bench, bench.source(code))


@pytest.mark.usefixtures("no_export")
@pytest.mark.parametrize("cast", ["", ".float()"])
def test_a_level_far_above_what_varies_does_not_hinder_pruning(bench: Bench, cast: str) -> None:
    code = f"""{CODE}

def build():
    model = Year()
    nn.init.normal_(model.head.weight, std=10.0)
    nn.init.constant_(model.head.bias, 100.0)
    return model

class Year(Shared):
    def forward(self, image):
        return super().forward(image{cast})
"""
    assert facts(prune(bench, bench.source(code)))["reached"] >= 0.5


@pytest.mark.usefixtures("no_export")
def test_norms_that_are_taken_over_fewer_channels_are_named(bench: Bench) -> None:
    assert facts(prune(bench, source(bench, "MLP with LayerNorm")))["renormalized"] == ["norm"]
    assert facts(prune(bench, source(bench, "MLP with BatchNorm")))["renormalized"] == []


@pytest.mark.usefixtures("no_export")
def test_frozen_layers_are_judged_by_their_gradients_too_and_stay_frozen(bench: Bench) -> None:
    code = f"""{CODE}

def build():
    model = Shared()
    model.a.requires_grad_(False)
    return model
"""
    pruned = prune(bench, bench.source(code), importance="taylor")

    assert "a" in facts(pruned)["removed"]
    module, _ = load_module(pruned, bench.project)
    assert not module.a.weight.requires_grad
    assert module.m.weight.requires_grad


@pytest.mark.usefixtures("no_export")
def test_what_forward_counts_is_not_taken_for_a_width(bench: Bench) -> None:
    code = f"""{CODE}

def build():
    return Counting()

class Counting(Shared):
    calls = 0

    def forward(self, image):
        self.calls += 1
        return super().forward(image)
"""
    once = prune(bench, bench.source(code), remove=0.3)
    twice = prune(bench, once, remove=0.3)

    for pruned in (once, twice):
        _, model = load_module(pruned, bench.project)
        changed = {change.module for change in model.changes}
        assert "m" in changed
        assert "" not in changed

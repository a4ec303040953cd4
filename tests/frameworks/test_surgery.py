"""Pruning as data: what is read from a pruned module is replayed on a fresh one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlopt.errors import ModelError
from mlopt.frameworks.surgery import apply_changes, changes_between
from mlopt.types.torch_model import ModuleChange, TorchModel


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 6), nn.LayerNorm(6)
    )


def _pruned() -> nn.Sequential:
    """The same with channels 1, 4 and 5 of eight, and with half of the last layer."""
    module = _network()
    keep = torch.tensor([1, 4, 5])
    conv, norm, _, linear, layer_norm = module
    conv.weight = nn.Parameter(conv.weight.data[keep])
    conv.bias = nn.Parameter(conv.bias.data[keep])
    conv.out_channels = 3
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(getattr(norm, name).data[keep]))
        setattr(layer_norm, name, nn.Parameter(getattr(layer_norm, name).data[:3]))
    for name in ("running_mean", "running_var"):
        setattr(norm, name, getattr(norm, name)[keep])
    norm.num_features = 3
    linear.weight = nn.Parameter(linear.weight.data[:3, keep])
    linear.bias = nn.Parameter(linear.bias.data[:3])
    linear.in_features, linear.out_features = 3, 3
    layer_norm.normalized_shape = (3,)
    return module


def test_a_replayed_module_takes_the_weights_and_answers_the_same():
    pruned = _pruned().eval()
    changes = changes_between(_network(), pruned)
    stored = TorchModel(factory="m:f", changes=changes).model_dump_json()
    rebuilt = _network()
    apply_changes(rebuilt, TorchModel.model_validate_json(stored).changes)
    rebuilt.load_state_dict(pruned.state_dict())
    x = torch.randn(4, 1, 3, 3)
    assert torch.equal(rebuilt.eval()(x), pruned(x))
    assert rebuilt[0].out_channels == rebuilt[1].num_features == 3
    assert rebuilt[4].normalized_shape == (3,)


def test_a_module_that_was_not_pruned_has_no_changes():
    assert changes_between(_network(), _network()) == ()


def test_only_what_differs_is_listed():
    changes = {change.module: change for change in changes_between(_network(), _pruned())}
    assert set(changes) == {"0", "1", "3", "4"}
    assert changes["0"].attributes == {"out_channels": 3}
    assert changes["0"].shapes == {"weight": (3, 1, 3, 3), "bias": (3,)}


def test_integers_of_other_modules_are_left_out():
    pruned = _pruned()
    pruned[2].calls = 3
    every = {change.module for change in changes_between(_network(), pruned)}
    some = {change.module for change in changes_between(_network(), pruned, ["0", "1", "3", "4"])}
    assert every - some == {"2"}


def test_a_tensor_that_two_modules_share_stays_shared():
    def tied() -> nn.ModuleList:
        first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        second.weight = first.weight
        return nn.ModuleList([first, second])

    pruned = tied()
    pruned[0].weight = pruned[1].weight = nn.Parameter(torch.zeros(2, 4))
    rebuilt = tied()
    apply_changes(rebuilt, changes_between(tied(), pruned))
    assert rebuilt[0].weight is rebuilt[1].weight
    assert rebuilt[0].weight.shape == (2, 4)


def test_a_frozen_parameter_stays_frozen():
    module = _network()
    module[0].weight.requires_grad_(False)
    apply_changes(module, [ModuleChange(module="0", shapes={"weight": (2, 1, 3, 3)})])
    assert not module[0].weight.requires_grad


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (ModuleChange(module="9", attributes={"out_channels": 1}), "in its module '9'"),
        (ModuleChange(module="0", shapes={"gain": (1,)}), "in the tensor '0.gain'"),
    ],
)
def test_code_that_has_changed_since_is_refused(change: ModuleChange, words: str):
    with pytest.raises(ModelError, match=words):
        apply_changes(_network(), [change])


def test_pruning_that_removes_a_module_is_refused():
    with pytest.raises(ModelError, match="which modules there are"):
        changes_between(_network(), _network()[:3])


def test_pruning_that_removes_a_tensor_is_refused():
    changed = _network()
    changed[0].bias = None
    with pytest.raises(ModelError, match="which tensors '0' has: bias"):
        changes_between(_network(), changed)

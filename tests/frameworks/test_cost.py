"""Parameters and multiply-accumulates against what one counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlopt.frameworks.cost import count_cost


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell = kind(8, 16, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x)[0]


class _Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_a_convolution_multiplies_each_kernel_at_each_pixel():
    cost = count_cost(nn.Conv2d(3, 8, 3, padding=1), {"x": torch.zeros(5, 3, 10, 10)})
    assert cost == (3 * 8 * 9 + 8, 3 * 8 * 9 * 100)


def test_a_depthwise_convolution_is_cheaper_by_its_groups():
    cost = count_cost(nn.Conv2d(8, 8, 3, padding=1, groups=8), {"x": torch.zeros(1, 8, 10, 10)})
    assert cost.macs == 8 * 9 * 100


def test_a_linear_layer_multiplies_once_for_each_weight_and_position():
    cost = count_cost(nn.Linear(6, 4), {"x": torch.zeros(2, 7, 6)})
    assert cost == (28, 7 * 24)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_are_counted_in_full(kind: type[nn.RNNBase], gates: int):
    cost = count_cost(_Recurrent(kind).eval(), {"x": torch.zeros(3, 5, 8)})
    assert cost.macs == gates * 5 * (8 * 16 + 16 * 16)


def test_attention_is_two_matrix_products_for_each_head():
    cost = count_cost(_Attention(), {"x": torch.zeros(1, 4, 9, 8)})
    assert cost.macs == 2 * 4 * 9 * 9 * 8


def test_a_shared_parameter_counts_once():
    shared = nn.Linear(4, 4)
    assert count_cost(nn.Sequential(shared, shared), {"x": torch.zeros(1, 4)}) == (20, 32)


def test_a_module_with_a_fixed_batch_is_counted_by_the_example():
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(4, 6) @ torch.ones(6, 2)

    assert count_cost(Fixed(), {"x": torch.zeros(4, 6)}).macs == 12


def test_an_encoder_layer_is_counted_though_torch_fuses_it():
    layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True).eval()
    tokens, width = 5, 16
    projections = tokens * (4 * width * width + 2 * width * 32)
    cost = count_cost(layer, {"src": torch.zeros(1, tokens, width)})
    assert cost.macs == projections + 2 * tokens * tokens * width
    assert torch.backends.mha.get_fastpath_enabled()
